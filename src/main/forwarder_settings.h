/* forwarder_settings.h - what the settings say of forwarders: namespaces with `forward`, and webhooks. */
#ifndef MAIN_FORWARDER_SETTINGS_H
#define MAIN_FORWARDER_SETTINGS_H

#include "settings/settings.h"
#include "uplink/forwarder.h"

/* At the start, and when the settings have changed; the writer's thread, or before it runs. `spaces`: those that channel names
 * point into. The back end of a webhook is called "webhook:NAME", and its address is whole. False: there were too many since the start, and
 * some are left out until the next one. */
bool forwarders_take_settings(struct forwarders *set, const struct namespaces *spaces, const struct settings *settings);

#endif
