/* publish_watch.h - who watches what this node publishes. All of it happens on the writer's thread. */
#ifndef NODE_PUBLISH_WATCH_H
#define NODE_PUBLISH_WATCH_H

struct publish_command;

struct publish_watch {
    /* Before the store gets it. A publish without rows may be given some (append.write, rows), which commit with it. */
    void (*begins)(void *ctx, struct publish_command *publish);
    /* It is in the log, numbered. */
    void (*committed)(void *ctx, struct publish_command *publish);
};

#endif
