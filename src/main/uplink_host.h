/* uplink_host.h - the uplink as the writer's thread has it: calls leave by the back ends (backend_host.h), nodes come from the
 * cluster, limits from the settings. */
#ifndef MAIN_UPLINK_HOST_H
#define MAIN_UPLINK_HOST_H

#include "settings/settings.h"
#include "uplink/uplink.h"

struct server;

struct uplink_host {
    struct uplink  uplink;
    struct server *server;      /* borrowed */
    struct counter is_hurried;  /* the node begins to stop */
};

/* Writer and cluster are there, and don't run yet. */
void uplink_host_open(struct uplink_host *host, struct server *server);
void uplink_host_close(struct uplink_host *host);  /* nothing is under way; a zeroed host is fine */

/* On the writer's thread. */
void uplink_host_adopt(struct uplink_host *host, const struct settings *settings);
void uplink_host_turn_begin(struct uplink_host *host, msec now);
void uplink_host_stop(struct uplink_host *host);
/* Another process takes the place of this one, and what is under way has had its time. */
void uplink_host_break_off_links(struct uplink_host *host);

/* Any thread: is a request under way whose response would be lost with this process, though its link moves? */
bool uplink_host_calls_for_links(const struct uplink_host *host);

/* Any thread: is a back end being called? */
bool uplink_host_calls(const struct uplink_host *host);

/* Another process wants the place of this one: nothing begins by itself until that is over. */
void uplink_host_hold(struct uplink_host *host, bool is_holding);

/* Any thread: nobody waits for a response any more. */
void uplink_host_hurry(struct uplink_host *host);

/* Any thread: lines of /metrics. */
void uplink_host_put_metrics(const struct uplink_host *host, struct buf *out);

#endif
