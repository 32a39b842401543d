/* device_poster.h - the application publishes to users, groups, devices and topics, each message once. */
#ifndef SIM_DEVICE_POSTER_H
#define SIM_DEVICE_POSTER_H

#include "device_world.h"

struct application;

struct application *application_new(struct device_world *all);
void application_free(struct application *application);
void application_turn(struct application *application);
void application_cut(struct application *application, struct loop_range range);
void application_leave(struct application *application);
/* From now on one message to each channel, and then none. */
void application_say_last(struct application *application);
bool application_is_done(const struct application *application);

#endif
