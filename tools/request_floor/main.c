/* request-floor - the least that a request of a named device to a back end takes beyond what a proxy does for it.
 *
 *   request-floor DIR [--in-commit 12] [--devices 64] [--sends 20000] [--seconds-ms 3000]
 *
 * A request is accepted when its id is durable, and its response is delivered when that is durable. So it is in two synced commits, and two
 * frames are sent. This program does these things and nothing else, in one thread: a commit has the ids of `--in-commit` new requests in one row,
 * and of as many others the response and the row that says where it is, in RocksDB as the server sets it up. Before it, each new
 * id is looked up. Then it sends a frame of 40 bytes to a process that waits for it, `--sends` times. Prints a line of JSON: processor time of
 * this process for a request's rows, and for a send. tools/bench/floor runs it beside nginx and Longwire. */
#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "store/rocks_db.h"

enum { IN_COMMIT_MAX = 512, KEY_ROOM = 64, FRAME_BYTES = 40, CALL_BYTES = 48, ANSWERED_BYTES = 42, RESPONSE_BYTES = 220, WHY_BYTES = 400,
       EXIT_USAGE = 2 };

struct floor_settings {
    const char *path;
    uint64_t    in_commit, devices, sends, seconds_ms;
};

_Noreturn static void floor_die(const char *what)
{
    perror(what);
    exit(EXIT_FAILURE);
}

static double seconds_now(void)
{
    struct timespec now;

    must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_us(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

/* --- rows ---------------------------------------------------------------------------------------------------------- */

static void put_big(char *at, uint64_t number)
{
    for (int i = 8; i-- > 0; number >>= 8)
        at[i] = (char)number;
}

static void put_row(struct rocks_db *db, rocksdb_writebatch_t *batch, enum family family, struct span key, const char *value, size_t len)
{
    rocksdb_writebatch_put_cf(batch, db->families[family], key.at, key.len, value, len);
}

/* Of the ledger: kind, user, device, id. */
static struct span request_row_key(const struct floor_settings *settings, uint64_t request, char at[KEY_ROOM])
{
    int len = snprintf(at, KEY_ROOM, "%cbench-%llu%cd%c%llx", 7, (unsigned long long)(request % settings->devices), 0, 0,
                       (unsigned long long)request);
    return span_of(at, (size_t)len);
}

static void look_up(struct rocks_db *db, struct span key)
{
    rocksdb_pinnableslice_t *slice = NULL;

    must(rocks_db_get(db, FAMILY_LEDGER, db->get, key, &slice) == RC_OK && slice == NULL);
}

/* The requests from `first` on are new; those of the commit before are answered. */
static void commit_once(struct rocks_db *db, rocksdb_writebatch_t *batch, const struct floor_settings *settings, uint64_t first)
{
    static char calls[IN_COMMIT_MAX * CALL_BYTES], answered[ANSWERED_BYTES], response[RESPONSE_BYTES];
    char        key[KEY_ROOM], place[16], why[WHY_BYTES];

    rocksdb_writebatch_clear(batch);
    for (uint64_t i = 0; i < settings->in_commit; i++)
        look_up(db, request_row_key(settings, first + i, key));
    put_big(place, 1);
    put_big(place + 8, first);
    put_row(db, batch, FAMILY_LEDGER, span_of(place, sizeof place), calls, settings->in_commit * CALL_BYTES);
    for (uint64_t i = 0; i < settings->in_commit && first > 0; i++) {
        uint64_t request = first - settings->in_commit + i;
        put_big(place, 1 + request % settings->devices);
        put_big(place + 8, request / settings->devices);
        put_row(db, batch, FAMILY_MESSAGES, span_of(place, sizeof place), response, sizeof response);
        put_row(db, batch, FAMILY_LEDGER, request_row_key(settings, request, key), answered, sizeof answered);
    }
    if (rocks_db_write(db, batch, why, sizeof why) != RC_OK) {
        fprintf(stderr, "request-floor: %s\n", why);
        exit(EXIT_FAILURE);
    }
}

static double measure_rows(const struct floor_settings *settings, double *ret_commits_per_s)
{
    const struct rocks_db_options options = { .path = settings->path, .log_path = "", .write_buffer_bytes = 64 << 20,
                                              .block_cache_bytes = 32 << 20 };
    struct rocks_db               db      = { 0 };
    char                          why[WHY_BYTES];
    uint64_t                      first   = 0, commits = 0;

    if (rocks_db_open(&db, &options, why, sizeof why) != RC_OK) {
        fprintf(stderr, "request-floor: %s\n", why);
        exit(EXIT_FAILURE);
    }
    rocks_db_count_nothing();
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    double                began = seconds_now(), used = cpu_us();
    for (; seconds_now() - began < (double)settings->seconds_ms / 1000; first += settings->in_commit, commits++)
        commit_once(&db, batch, settings, first);
    used               = cpu_us() - used;
    *ret_commits_per_s = (double)commits / (seconds_now() - began);
    rocksdb_writebatch_destroy(batch);
    rocks_db_close(&db);
    return used / (double)first;
}

/* --- sends --------------------------------------------------------------------------------------------------------- */

static int connect_pair(int *ret_far)
{
    struct sockaddr_in at       = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          len      = sizeof at;
    int                listener = socket(AF_INET, SOCK_STREAM, 0), near = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    if (listener < 0 || near < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &len) != 0 || connect(near, (struct sockaddr *)&at, len) != 0 ||
        (*ret_far = accept(listener, NULL, NULL)) < 0)
        floor_die("a connection");
    close(listener);
    setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return near;
}

/* The far process waits for each frame, and says so by a byte, which is not counted as work of a send. */
_Noreturn static void wait_for_frames(int fd)
{
    char bytes[FRAME_BYTES];

    while (recv(fd, bytes, sizeof bytes, MSG_WAITALL) == (ssize_t)sizeof bytes)
        if (send(fd, bytes, 1, MSG_NOSIGNAL) != 1)
            break;
    _exit(EXIT_SUCCESS);
}

static double thread_us(void)
{
    struct timespec used;

    must(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) == 0);
    return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
}

static double measure_sends(uint64_t sends)
{
    static const char frame[FRAME_BYTES];
    char              byte;
    int               far  = -1, near = connect_pair(&far);
    double            used = 0;

    pid_t child = fork();
    if (child < 0)
        floor_die("fork");
    if (child == 0) {
        close(near);
        wait_for_frames(far);
    }
    close(far);
    for (uint64_t i = 0; i < sends; i++) {
        double before = thread_us();
        if (send(near, frame, sizeof frame, MSG_NOSIGNAL) != (ssize_t)sizeof frame)
            floor_die("send");
        used += thread_us() - before;
        if (recv(near, &byte, 1, 0) != 1)
            floor_die("recv");
    }
    close(near);
    waitpid(child, NULL, 0);
    return used / (double)sends;
}

/* --- main ---------------------------------------------------------------------------------------------------------- */

static void read_options(int argc, char **argv, struct floor_settings *settings)
{
    static const struct option options[] = {
        { "in-commit", required_argument, NULL, 'c' }, { "devices", required_argument, NULL, 'd' },
        { "sends", required_argument, NULL, 's' },     { "seconds-ms", required_argument, NULL, 't' }, { 0 },
    };
    for (int given; (given = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t *number = given == 'c' ? &settings->in_commit : given == 'd' ? &settings->devices : given == 's' ? &settings->sends
                                                                                                              : &settings->seconds_ms;
        if (given == '?' || !span_u64(span_str(optarg), number) || *number == 0)
            exit(EXIT_USAGE);
    }
    if (optind + 1 != argc || settings->in_commit > IN_COMMIT_MAX) {
        fputs("usage: request-floor DIR [--in-commit N] [--devices N] [--sends N] [--seconds-ms N]\n", stderr);
        exit(EXIT_USAGE);
    }
    settings->path = argv[optind];
}

int main(int argc, char **argv)
{
    struct floor_settings settings = { .in_commit = 12, .devices = 64, .sends = 20000, .seconds_ms = 3000 };
    double                commits_per_s;

    read_options(argc, argv, &settings);
    double send_us = measure_sends(settings.sends);
    double rows_us = measure_rows(&settings, &commits_per_s);
    printf("{\"in_commit\":%llu,\"rows_us\":%.2f,\"send_us\":%.2f,\"commits_per_second\":%.0f}\n",
           (unsigned long long)settings.in_commit, rows_us, send_us, commits_per_s);
    return EXIT_SUCCESS;
}
