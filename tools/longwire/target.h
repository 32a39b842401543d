/* target.h - which server is asked, and the key to show there. */
#ifndef LONGWIRE_TARGET_H
#define LONGWIRE_TARGET_H

#include "base/buf.h"

enum { SERVERS_MAX = 16 };

struct target {
    const char *server;      /* as given: "host:port" or a URL; borrowed from command line or environment */
    const char *key;         /* API key; NULL: none. Borrowed, or key_copy's */
    struct buf  url;         /* "http://host:port", NUL-terminated, without slashes at its end; once it is sound. Several
                          * servers: one behind the other, each with its NUL */
    size_t      url_count;
    char       *key_copy;
    bool        is_verbose;  /* say what is asked and answered */
    bool        is_native;   /* `server` names the native protocol; `url` is the address then */
};

/* From the environment, then the defaults. */
void target_init(struct target *target);
void target_fini(struct target *target);

/* Takes the value of --key. It is wiped where it stood, so that lists of processes show it no longer than they must. */
void target_take_key(struct target *target, char *value);

/* Does the address begin with lw://, lws://, tcp:// or tls://? */
bool server_is_native(struct span server);

/* Makes the URL. False if the address or the key can't be used; the reason has been printed, and no secret with it. */
bool target_is_sound(struct target *target);

/* `server` as a URL: http and port 8080 are added where there is no scheme. False: it can't be an address. */
bool server_url_put(struct buf *url, struct span server);

#endif
