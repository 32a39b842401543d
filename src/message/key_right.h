/* key_right.h - what the holder of an API key may do, as its section of the configuration says. */
#ifndef MESSAGE_KEY_RIGHT_H
#define MESSAGE_KEY_RIGHT_H

enum key_right { RIGHT_PUBLISH = 1, RIGHT_SUBSCRIBE = 2, RIGHT_ADMIN = 4 };  /* bits */

enum { KEY_RIGHTS_ALL = RIGHT_PUBLISH | RIGHT_SUBSCRIBE | RIGHT_ADMIN };

enum { KEY_NAME_BYTES_MAX = 32 };

#endif
