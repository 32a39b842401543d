/* ws_extension.h - what a client offers in Sec-WebSocket-Extensions (RFC 6455 9.1), and which offer is taken. Private to this
 * folder: ws_handshake_see() calls it. */
#ifndef CODEC_WS_WS_EXTENSION_H
#define CODEC_WS_WS_EXTENSION_H

#include "codec/ws/ws.h"

/* One line of the field. Unless an earlier one has set *window, it becomes that of the first offer of permessage-deflate which can
 * be kept; offers that can't, and other extensions, are passed over. False: the line is not a list of extensions. */
bool ws_see_extensions(struct span line, enum ws_window *window);

#endif
