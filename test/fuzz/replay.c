/* Runs a fuzzer's body over stored inputs, when it was not built with libFuzzer. Each argument is a file, or a
 * directory whose files are taken. Every input runs in a child process, so that a crash is one failure and doesn't end
 * the run. The last line is "N passed, N failed"; the exit status is 1 if any failed, or if there was nothing to
 * replay. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static unsigned passed, failed;

/* Runs in the child. The bytes are malloc'ed to their exact length, so that ASan notices a read behind them. */
static int replay_bytes(const char *path)
{
    struct stat status;
    int         fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        perror(path);
        return 1;
    }
    size_t   len   = (size_t)status.st_size;
    uint8_t *bytes = malloc(len);
    if ((len > 0 && bytes == NULL) || read(fd, bytes, len) != (ssize_t)len) {
        perror(path);
        return 1;
    }
    int rc = LLVMFuzzerTestOneInput(bytes, len);
    free(bytes);
    close(fd);
    return rc;
}

static void replay_file(const char *path)
{
    int   status = -1;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0)
        exit(replay_bytes(path));
    if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        passed++;
        return;
    }
    printf("FAILED %s\n", path);
    failed++;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay_directory(const char *path)
{
    struct dirent **entries;
    int             count = scandir(path, &entries, is_visible, alphasort);
    if (count < 0) {
        perror(path);
        failed++;
        return;
    }
    for (int i = 0; i < count; i++) {
        char *file;
        if (asprintf(&file, "%s/%s", path, entries[i]->d_name) < 0)
            abort();
        replay_file(file);
        free(file);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat status;
        if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode))
            replay_directory(argv[i]);
        else
            replay_file(argv[i]);
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
