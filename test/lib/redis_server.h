/* redis_server.h - a Redis of the test's own: in a new directory under /tmp, reached by a Unix socket there, keeping nothing on
 * the disk. It ends with the test program. */
#ifndef LIB_REDIS_SERVER_H
#define LIB_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
    char  dir[64];
    char  url[128];
    char  socket[96];
    pid_t pid;        /* 0: it does not run */
    const char *password;
};

/* False: redis-server is not installed; says so. With a password if it isn't NULL. */
bool redis_server_start(struct redis_server *server, const char *password);
void redis_server_stop(struct redis_server *server);    /* for good: removes the directory */

void redis_server_kill(struct redis_server *server);    /* at once; what it held is gone */
void redis_server_resume(struct redis_server *server);  /* after a kill: empty */
/* Makes it listen on a free port of 127.0.0.1 too, and returns it. */
int  redis_server_open_port(const struct redis_server *server);
void redis_server_pause(struct redis_server *server, bool is_paused);

/* Sends one command with a connection of its own and returns what an integer answer says, or the elements of an array. */
__attribute__((format(printf, 2, 3))) long long redis_server_say(const struct redis_server *server, const char *format, ...);

#endif
