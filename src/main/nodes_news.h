/* nodes_news.h - the nodes of the cluster, from the writer's thread, where leases are told, to each loop, which answers who asks for
 * them. Each loop has a copy of its own. */
#ifndef MAIN_NODES_NEWS_H
#define MAIN_NODES_NEWS_H

#include "node/writer.h"
#include "route/registry.h"

/* On the writer's thread: to all loops, as they are now. */
void nodes_news_send(struct writer *writer, const struct registry *registry);

#endif
