#include "store/pg_battery.h"

#include <glob.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"
#include "store/shards.h"

#include <cmocka.h>

enum { PATH_BYTES = 256, COMMAND_BYTES = 1024, PAIRS = 32, CHUNK = 65536, WHY_BYTES = 600, UNUSED_TRIES = 24 };

static char engine_dir[sizeof "/tmp/pg_test.XXXXXX"], engine_bin[PATH_BYTES], url_text[PATH_BYTES], proxy_text[PATH_BYTES];

static uid_t    other_uid;
static gid_t    other_gid;
static bool     may_mount;
static PGconn  *holder;

/* --- the server --------------------------------------------------------------------------------------------------- */

/* PostgreSQL refuses to run as root. */
static void other_find(void)
{
    const struct passwd *other = getpwnam("postgres");

    if (other == NULL)
        other = getpwnam("nobody");
    must(other != NULL);
    other_uid = other->pw_uid;
    other_gid = other->pw_gid;
}

/* Between fork() and exec() nothing is allocated: another thread, which is not there any more, may have been about to. */
static int run_as_other(const char *command)
{
    const bool  is_root = geteuid() == 0;
    int         status  = 0;
    const pid_t child   = fork();

    must(child >= 0);
    if (child == 0) {
        must(!is_root || (setgid(other_gid) == 0 && setuid(other_uid) == 0));
        must(chdir("/") == 0);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    must(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

__attribute__((format(printf, 1, 2))) static int engine_run(const char *format, ...)
{
    char    command[COMMAND_BYTES];
    va_list args;

    va_start(args, format);
    must(vsnprintf(command, sizeof command, format, args) < (int)sizeof command);
    va_end(args);
    return run_as_other(command);
}

/* The newest version that Debian's packages put there. */
static bool engine_find(void)
{
    glob_t found;
    bool   is_there = glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) == 0 && found.gl_pathc > 0;

    if (is_there) {
        snprintf(engine_bin, sizeof engine_bin, "%s", found.gl_pathv[found.gl_pathc - 1]);
        *strrchr(engine_bin, '/') = '\0';
    }
    globfree(&found);
    return is_there;
}

static void engine_begin(void)
{
    int failed = engine_run("%s/pg_ctl -D %s/data -w -t 120 -l %s/log -o \"-c listen_addresses= -k %s -c fsync=off"
                            " -c full_page_writes=off -c shared_buffers=16MB -c max_connections=60"
                            " -c max_wal_size=256MB -c min_wal_size=32MB\" start >/dev/null 2>&1",
                            engine_bin, engine_dir, engine_dir, engine_dir);
    must(failed == 0);
}

bool engine_start(void)
{
    if (!engine_find()) {
        print_message("skipped: no /usr/lib/postgresql/*/bin/initdb; `setup/packages test` installs PostgreSQL\n");
        return false;
    }
    /* The small disk is mounted for this process and the server alone, and ends with them. This must happen before any
     * thread starts. */
    may_mount = unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    snprintf(engine_dir, sizeof engine_dir, "/tmp/pg_test.XXXXXX");
    must(mkdtemp(engine_dir) != NULL);
    other_find();
    if (geteuid() == 0)
        must(chown(engine_dir, other_uid, other_gid) == 0);
    must(engine_run("%s/initdb -D %s/data -U postgres -A trust -E UTF8 --no-locale --no-sync >%s/initdb.log 2>&1",
                    engine_bin, engine_dir, engine_dir) == 0);
    engine_begin();
    snprintf(url_text, sizeof url_text, "host=%s user=postgres dbname=postgres", engine_dir);
    return true;
}

void engine_crash(void)
{
    must(engine_run("%s/pg_ctl -D %s/data -m immediate -w stop >/dev/null 2>&1", engine_bin, engine_dir) == 0);
}

void engine_resume(void)
{
    engine_begin();
}

void engine_copy(void)
{
    must(engine_run("cp -a %s/data %s/copy", engine_dir, engine_dir) == 0);
}

void engine_resume_copy(void)
{
    must(engine_run("cd %s && mv data old && mv copy data && touch data/standby.signal", engine_dir) == 0);
    engine_begin();
}

void engine_stop(void)
{
    engine_run("%s/pg_ctl -D %s/data -m immediate -w stop >/dev/null 2>&1", engine_bin, engine_dir);
    must(engine_run("rm -rf %s/* %s/.s.*", engine_dir, engine_dir) == 0);
    must(rmdir(engine_dir) == 0);
}

const char *engine_url(void)
{
    return url_text;
}

/* False: a database is in use, which PostgreSQL waits a few seconds for and no longer. */
static bool engine_try(const char *sql, long long *ret_number)
{
    PGconn     *conn   = PQconnectdb(url_text);
    PGresult   *result = PQexec(conn, sql);
    const char *state  = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const bool  is_used = state != NULL && strcmp(state, "55006") == 0;

    if (!is_used && PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    *ret_number = PQntuples(result) > 0 ? atoll(PQgetvalue(result, 0, 0)) : 0;
    PQclear(result);
    PQfinish(conn);
    return !is_used;
}

long long engine_sql(const char *sql)
{
    long long number = 0;

    if (!engine_try(sql, &number))
        fail_msg("%s: it is in use", sql);
    return number;
}

static void engine_sql_when_unused(const char *sql)
{
    long long number = 0;
    int       tries  = 1;

    while (!engine_try(sql, &number))
        must(++tries <= UNUSED_TRIES);
}

void engine_hold(const char *sql)
{
    const char *const texts[] = { "begin", sql };

    holder = PQconnectdb(url_text);
    for (size_t i = 0; i < 2; i++) {
        PGresult *result = PQexec(holder, texts[i]);
        must(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK);
        PQclear(result);
    }
}

void engine_let_go(void)
{
    PQfinish(holder);
    holder = NULL;
}

static char *small_path(void)
{
    char *path = NULL;

    must(asprintf(&path, "%s/small", engine_dir) >= 0);
    return path;
}

bool engine_small_disk(void)
{
    char  options[PATH_BYTES], sql[COMMAND_BYTES], *path = small_path();
    struct stat owner;

    must(stat(engine_dir, &owner) == 0);
    snprintf(options, sizeof options, "size=3m,mode=700,uid=%u,gid=%u", owner.st_uid, owner.st_gid);
    bool is_mounted = may_mount && mkdir(path, 0700) == 0 && mount("none", path, "tmpfs", 0, options) == 0;
    if (is_mounted) {
        snprintf(sql, sizeof sql, "create tablespace small location '%s'", path);
        engine_sql(sql);
        engine_sql("alter table longwire.message_kept set tablespace small");
    }
    free(path);
    return is_mounted;
}

void engine_small_disk_grow(void)
{
    char *path = small_path();

    must(mount("none", path, NULL, MS_REMOUNT, "size=16m") == 0);
    free(path);
}

void engine_small_disk_end(void)
{
    char *path = small_path();

    engine_sql("set client_min_messages = error; drop schema longwire cascade");
    engine_sql("checkpoint");
    engine_sql("drop tablespace small");
    /* A process that is about to end, or the one that writes pages ahead, may still have a file open there. */
    must(umount2(path, MNT_DETACH) == 0 && rmdir(path) == 0);
    free(path);
}

enum rc engine_init(const char *url, char why[ENGINE_WHY_BYTES])
{
    const struct shard_place whole = shard_place_new(1, 0, 1);

    return pg_store_init(url, &whole, 0, 1, why, ENGINE_WHY_BYTES);
}

void engine_clear(void)
{
    char why[ENGINE_WHY_BYTES];

    /* What a closed store has sent may still be carried out; its locks could be in the way. */
    engine_sql("set client_min_messages = error; select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity where application_name like 'longwired-%'");
    engine_sql("set client_min_messages = error; drop schema if exists longwire, longwire_memory cascade");
    if (engine_init(url_text, why) != RC_OK)
        fail_msg("%s", why);
}

static const struct engine_patience PATIENT = { .answer_ms = 30000, .connect_ms = 30000, .doubt_ms = 30000 };

static struct store *engine_store_with(struct bench *bench, const char *url, struct engine_patience patience, bool is_volatile)
{
    const struct pg_store_options options = { .url = url, .spaces = &bench->spaces, .hash_key = bench->hash_key,
                                              .answer_ms = patience.answer_ms, .connect_ms = patience.connect_ms,
                                              .doubt_ms = patience.doubt_ms, .tend_ms = 1, .room_ms = 1, .is_volatile = is_volatile };
    struct store                 *store   = NULL;
    char                          why[WHY_BYTES];

    if (pg_store_open(&options, &store, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
    return store;
}

struct store *engine_store(struct bench *bench, const char *url)
{
    return engine_store_with(bench, url, PATIENT, false);
}

struct store *engine_impatient_store(struct bench *bench, const char *url, struct engine_patience patience)
{
    return engine_store_with(bench, url, patience, false);
}

struct store *engine_volatile_store(struct bench *bench)
{
    return engine_store_with(bench, url_text, PATIENT, true);
}

static struct store *engine_open_volatile(struct bench *bench)
{
    engine_clear();
    return engine_volatile_store(bench);
}

static struct store *engine_open_new(struct bench *bench)
{
    engine_clear();
    return engine_store(bench, url_text);
}

/* The batteries write rows of all names at once, and rows with topic:a and user:ann, which both lie in the second half. */
static unsigned slot_in_second(const struct ledger_key *key)
{
    (void)key;
    return SLOT_COUNT - 1;
}

/* Two databases of the server, each with half of the slots. */
static struct store *engine_open_spread(struct bench *bench)
{
    struct shards_options options = { .count = 2, .slot_of = slot_in_second };
    struct shard_place    places[2];
    struct store         *stores[2];
    char                  url[PATH_BYTES], sql[COMMAND_BYTES], why[ENGINE_WHY_BYTES];

    for (size_t i = 0; i < 2; i++) {
        snprintf(sql, sizeof sql, "drop database if exists half%zu with (force)", i);
        engine_sql_when_unused(sql);
        snprintf(sql, sizeof sql, "create database half%zu", i);
        engine_sql_when_unused(sql);
        snprintf(url, sizeof url, "host=%s user=postgres dbname=half%zu", engine_dir, i);
        places[i] = shard_place_new(1, i, 2);
        if (pg_store_init(url, &places[i], i, 2, why, sizeof why) != RC_OK)
            fail_msg("%s", why);
        must(pg_store_ask(url, &places[i], why, sizeof why) == RC_OK);
        stores[i] = engine_store(bench, url);
    }
    options.stores = stores;
    must(shard_table_make(places, 2, options.shard_of_slot, why, sizeof why));
    return shards_new(&options);
}

const struct store_maker pg_spread_maker = { "postgres, two databases", engine_open_spread, NULL, true };
const struct store_maker pg_volatile_maker = { "postgres, unlogged", engine_open_volatile, NULL, false };
const struct store_maker pg_maker = { "postgres", engine_open_new, NULL };

/* --- the proxy ---------------------------------------------------------------------------------------------------- */

struct proxy_pair {
    int  client, server;  /* -1: none */
    bool is_mute;         /* nothing goes back to the client: it is cut once the server has answered */
    char late[CHUNK];     /* what the server gets later */
    ssize_t late_len;
    unsigned born;
};

static struct proxy_pair proxy_pairs[PAIRS];
static _Atomic int       proxy_mode_now;
static _Atomic bool      proxy_cuts_all, proxy_ends, proxy_did_cut, proxy_did_guess;
static int               proxy_listener;
static unsigned          proxy_births;
static pthread_t         proxy_thread;

static struct sockaddr_un socket_address(const char *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    must(snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", engine_dir, name) <
         (int)sizeof address.sun_path);
    return address;
}

static void pair_close(struct proxy_pair *pair)
{
    if (pair->client >= 0)
        close(pair->client);
    if (pair->server >= 0)
        close(pair->server);
    *pair = (struct proxy_pair){ .client = -1, .server = -1 };
}

static void proxy_accept(void)
{
    const struct sockaddr_un address = socket_address(".s.PGSQL.5432");
    int                      client  = accept(proxy_listener, NULL, NULL);

    if (client < 0)
        return;
    for (size_t i = 0; i < PAIRS && proxy_mode_now != PROXY_REFUSE; i++) {
        struct proxy_pair *pair = &proxy_pairs[i];
        if (pair->client >= 0 || pair->server >= 0)
            continue;
        *pair = (struct proxy_pair){ .client = client, .server = socket(AF_UNIX, SOCK_STREAM, 0),
                                     .born = ++proxy_births };
        if (connect(pair->server, (const struct sockaddr *)&address, sizeof address) != 0)
            pair_close(pair);
        return;
    }
    close(client);
}

static void send_whole(int to, const char *bytes, ssize_t len)
{
    while (len > 0) {
        ssize_t sent = send(to, bytes, (size_t)len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        len -= sent;
    }
}

static bool has_bind(const char *bytes, ssize_t len, const char *portal_and_name, size_t size)
{
    return memmem(bytes, (size_t)len, portal_and_name, size) != NULL;
}

/* The Bind of the prepared statement `commit`, or of one that is a transaction by itself. */
static bool has_commit(const char *bytes, ssize_t len)
{
    static const char commit[] = "\0commit", store[] = "\0store", store_plain[] = "\0store_plain";

    return has_bind(bytes, len, commit, sizeof commit) || has_bind(bytes, len, store, sizeof store) ||
           has_bind(bytes, len, store_plain, sizeof store_plain);
}

static bool has_guess(const char *bytes, ssize_t len)
{
    return memmem(bytes, (size_t)len, "\0place", 7) != NULL && memmem(bytes, (size_t)len, "\0read_up", 9) != NULL;
}

/* What a later connection has set free. */
static void late_release(unsigned born)
{
    for (size_t i = 0; i < PAIRS; i++) {
        struct proxy_pair *pair = &proxy_pairs[i];
        if (pair->late_len == 0 || pair->born >= born)
            continue;
        send_whole(pair->server, pair->late, pair->late_len);
        pair_close(pair);
    }
}

static void cut_commit(struct proxy_pair *pair, const char *bytes, ssize_t len)
{
    enum proxy_mode mode = proxy_mode_now;

    proxy_mode_now = mode == PROXY_CUT_AND_REFUSE ? PROXY_REFUSE : PROXY_PASS;
    if (mode == PROXY_CUT_BEFORE) {
        pair_close(pair);
    } else if (mode == PROXY_LATE) {
        memcpy(pair->late, bytes, (size_t)len);
        pair->late_len = len;
        close(pair->client);
        pair->client = -1;
    } else {
        pair->is_mute = true;
        send_whole(pair->server, bytes, len);
    }
    if (!pair->is_mute)
        proxy_did_cut = true;
}

static void pass_up(struct proxy_pair *pair)
{
    static char bytes[CHUNK];
    ssize_t     len = recv(pair->client, bytes, sizeof bytes, 0);

    if (len <= 0) {
        pair_close(pair);
        return;
    }
    proxy_did_guess = proxy_did_guess || has_guess(bytes, len);
    if (proxy_mode_now >= PROXY_CUT_BEFORE && has_commit(bytes, len)) {
        cut_commit(pair, bytes, len);
        return;
    }
    send_whole(pair->server, bytes, len);
    late_release(pair->born);
}

static void pass_down(struct proxy_pair *pair)
{
    static char bytes[CHUNK];
    ssize_t     len = recv(pair->server, bytes, sizeof bytes, 0);

    if (len <= 0 || pair->is_mute) {
        proxy_did_cut = proxy_did_cut || pair->is_mute;
        pair_close(pair);
        return;
    }
    send_whole(pair->client, bytes, len);
}

static void proxy_turn(void)
{
    struct pollfd fds[1 + 2 * PAIRS] = { { .fd = proxy_listener, .events = POLLIN } };
    bool          is_stalled         = proxy_mode_now == PROXY_STALL;

    for (size_t i = 0; i < PAIRS; i++) {
        fds[1 + 2 * i] = (struct pollfd){ .fd = is_stalled ? -1 : proxy_pairs[i].client, .events = POLLIN };
        fds[2 + 2 * i] = (struct pollfd){ .fd = is_stalled || proxy_pairs[i].late_len > 0 ? -1 : proxy_pairs[i].server,
                                          .events = POLLIN };
    }
    poll(fds, 1 + 2 * PAIRS, 20);
    for (size_t i = 0; i < PAIRS; i++) {
        if (fds[2 + 2 * i].revents != 0 && proxy_pairs[i].server == fds[2 + 2 * i].fd)
            pass_down(&proxy_pairs[i]);
        if (fds[1 + 2 * i].revents != 0 && proxy_pairs[i].client == fds[1 + 2 * i].fd)
            pass_up(&proxy_pairs[i]);
    }
    if (fds[0].revents != 0)
        proxy_accept();
}

static void *proxy_run(void *context)
{
    (void)context;
    while (!proxy_ends) {
        if (proxy_cuts_all || proxy_mode_now == PROXY_REFUSE)
            for (size_t i = 0; i < PAIRS; i++)
                pair_close(&proxy_pairs[i]);
        proxy_cuts_all = false;
        proxy_turn();
    }
    for (size_t i = 0; i < PAIRS; i++)
        pair_close(&proxy_pairs[i]);
    return NULL;
}

void proxy_start(void)
{
    const struct sockaddr_un address = socket_address(".s.PGSQL.5433");

    for (size_t i = 0; i < PAIRS; i++)
        proxy_pairs[i] = (struct proxy_pair){ .client = -1, .server = -1 };
    snprintf(proxy_text, sizeof proxy_text, "host=%s port=5433 user=postgres dbname=postgres", engine_dir);
    proxy_mode_now = PROXY_PASS;
    proxy_ends     = false;
    unlink(address.sun_path);
    proxy_listener = socket(AF_UNIX, SOCK_STREAM, 0);
    must(bind(proxy_listener, (const struct sockaddr *)&address, sizeof address) == 0);
    must(listen(proxy_listener, 64) == 0);
    must(pthread_create(&proxy_thread, NULL, proxy_run, NULL) == 0);
}

void proxy_stop(void)
{
    proxy_ends = true;
    pthread_join(proxy_thread, NULL);
    close(proxy_listener);
}

const char *proxy_url(void)
{
    return proxy_text;
}

void proxy_set(enum proxy_mode mode)
{
    proxy_did_cut = proxy_did_guess = false;
    proxy_mode_now                  = mode;
}

void proxy_cut_all(void)
{
    proxy_cuts_all = true;
}

bool proxy_has_cut(void)
{
    return proxy_did_cut;
}

bool proxy_saw_guess(void)
{
    return proxy_did_guess;
}
