#include "lib/redis_server.h"

#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"

enum { TRIES = 12000, TRY_US = 10000, COMMAND_BYTES = 256, FIELDS = 16 };

static redisContext *server_connect(const struct redis_server *server)
{
    redisContext *redis = redisConnectUnix(server->socket);

    if (redis != NULL && redis->err == 0 && server->password != NULL)
        freeReplyObject(redisCommand(redis, "AUTH %s", server->password));
    if (redis != NULL && redis->err == 0)
        return redis;
    if (redis != NULL)
        redisFree(redis);
    return NULL;
}

/* There is no event that tells when the socket is listened on. */
static void server_await(const struct redis_server *server)
{
    for (int i = 0; i < TRIES; i++) {
        redisContext *redis = server_connect(server);
        redisReply   *reply = redis == NULL ? NULL : redisCommand(redis, "PING");
        bool          is_there = reply != NULL && reply->type == REDIS_REPLY_STATUS;
        if (reply != NULL)
            freeReplyObject(reply);
        if (redis != NULL)
            redisFree(redis);
        if (is_there)
            return;
        usleep(TRY_US);
    }
    must(!"redis-server answers");
}

void redis_server_resume(struct redis_server *server)
{
    char log[96];

    must(server->pid == 0);
    snprintf(log, sizeof log, "%s/log", server->dir);
    server->pid = fork();
    must(server->pid >= 0);
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (server->password != NULL)
            execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server->socket, "--save", "", "--dir", server->dir,
                   "--logfile", log, "--enable-debug-command", "yes", "--requirepass", server->password, (char *)NULL);
        else
            execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server->socket, "--save", "", "--dir", server->dir,
                   "--logfile", log, "--enable-debug-command", "yes", (char *)NULL);
        _exit(127);
    }
    server_await(server);
}

bool redis_server_start(struct redis_server *server, const char *password)
{
    *server = (struct redis_server){ .dir = "/tmp/redis_test.XXXXXX", .password = password };
    if (system("command -v redis-server >/dev/null") != 0) {
        printf("skipped: no redis-server; `setup/packages test` installs it\n");
        return false;
    }
    must(mkdtemp(server->dir) != NULL);
    snprintf(server->socket, sizeof server->socket, "%s/socket", server->dir);
    snprintf(server->url, sizeof server->url, "unix://%s", server->socket);
    redis_server_resume(server);
    return true;
}

void redis_server_kill(struct redis_server *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGKILL);
    must(waitpid(server->pid, NULL, 0) == server->pid);
    server->pid = 0;
}

void redis_server_stop(struct redis_server *server)
{
    char command[COMMAND_BYTES];

    redis_server_kill(server);
    snprintf(command, sizeof command, "rm -rf %s", server->dir);
    must(system(command) == 0);
}

static int port_that_is_free(void)
{
    struct sockaddr_in at   = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          size = sizeof at;
    int                fd   = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(bind(fd, (struct sockaddr *)&at, size) == 0 && getsockname(fd, (struct sockaddr *)&at, &size) == 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* Another process may take the port in between; then Redis says so. */
int redis_server_open_port(const struct redis_server *server)
{
    redisContext *redis     = server_connect(server);
    bool          is_opened = false;
    int           port      = 0;

    must(redis != NULL);
    for (int i = 0; i < TRIES && !is_opened; i++) {
        port              = port_that_is_free();
        redisReply *reply = redisCommand(redis, "CONFIG SET port %d", port);
        must(reply != NULL);
        is_opened = reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
    }
    redisFree(redis);
    must(is_opened);
    return port;
}

void redis_server_pause(struct redis_server *server, bool is_paused)
{
    int status;

    must(kill(server->pid, is_paused ? SIGSTOP : SIGCONT) == 0);
    if (is_paused)
        must(waitpid(server->pid, &status, WUNTRACED) == server->pid);
}

long long redis_server_say(const struct redis_server *server, const char *format, ...)
{
    redisContext *redis = server_connect(server);
    long long     said  = -1;
    va_list       args;

    must(redis != NULL);
    va_start(args, format);
    redisReply *reply = redisvCommand(redis, format, args);
    va_end(args);
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER)
        said = reply->integer;
    else if (reply != NULL && reply->type == REDIS_REPLY_ARRAY)
        said = (long long)reply->elements;
    if (reply != NULL)
        freeReplyObject(reply);
    redisFree(redis);
    return said;
}
