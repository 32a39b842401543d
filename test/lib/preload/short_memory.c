/* short_memory.so - makes one allocation fail, for tests of a whole process that was built without sanitizers.
 *
 *   LD_PRELOAD=…/short_memory.so SHORT_MEMORY_CONTROL=/tmp/control server …
 *
 * The control file exists before the process starts. It holds a signed 64-bit number in the machine's byte order: n > 0
 * lets n - 1 allocations pass and fails the next one, of any thread, library or size. The number counts down to 0, and
 * from then on allocations succeed again. Freeing and shrinking never fail. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of the malloc that the process has without this library, jemalloc's or glibc's. */
typedef void *take_fn(size_t size);
typedef void *take_pair_fn(size_t a, size_t b);
typedef void *grow_fn(void *old, size_t size);

static _Atomic int64_t *left;

__attribute__((constructor)) static void control_map(void)
{
    const char *path = getenv("SHORT_MEMORY_CONTROL");
    int         fd   = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void       *at   = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (fd >= 0)
        close(fd);
    if (at == MAP_FAILED)
        abort();  /* otherwise a test would pass because no allocation ever fails */
    left = at;
}

static bool fails(void)
{
    if (left == NULL || atomic_load(left) <= 0 || atomic_fetch_sub(left, 1) != 1)
        return false;
    errno = ENOMEM;
    return true;
}

/* Constructors of other libraries allocate before ours has run, so each function is looked up when it is first called. */
static void *look_up(_Atomic(void *) *found, const char *name)
{
    void *at = atomic_load_explicit(found, memory_order_relaxed);

    if (at == NULL) {
        at = dlsym(RTLD_NEXT, name);
        if (at == NULL)
            abort();
        atomic_store_explicit(found, at, memory_order_relaxed);
    }
    return at;
}

static _Atomic(void *) real_malloc, real_calloc, real_realloc, real_memalign;

void *malloc(size_t size)
{
    return fails() ? NULL : ((take_fn *)look_up(&real_malloc, "malloc"))(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : ((take_pair_fn *)look_up(&real_calloc, "calloc"))(count, size);
}

void *realloc(void *old, size_t size)
{
    bool is_growing = old == NULL || size > malloc_usable_size(old);

    return is_growing && fails() ? NULL : ((grow_fn *)look_up(&real_realloc, "realloc"))(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    return fails() ? NULL : ((take_pair_fn *)look_up(&real_memalign, "memalign"))(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
    void *at = memalign(alignment, size);

    if (at == NULL)
        return ENOMEM;
    *ret = at;
    return 0;
}
