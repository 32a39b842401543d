/* settings.h - This module is the configuration: every setting with its range and its help, and where its value
 * comes from. It refuses to guess, and to start or change anything: it makes a struct settings, and main hands the
 * parts on.
 *
 * settings.def has each setting once; config.h reads file, environment and flags. This header knows no file and no
 * environment. A struct settings holds no pointer and never changes once threads read it: a reload makes another
 * one. It is big (about 600 KiB), so it does not fit on small stacks. */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H

#include <sys/socket.h>

#include "base/buf.h"
#include "base/ip_range.h"
#include "message/event_kind.h"
#include "message/jwt_algorithm.h"
#include "message/key_right.h"
#include "message/namespace.h"
#include "message/request_method.h"
#include "base/log_level.h"

enum store_kind { STORE_ROCKS, STORE_MEMORY, STORE_POSTGRES };
enum websocket_compression { WEBSOCKET_COMPRESSION_OFF, WEBSOCKET_COMPRESSION_ON };

enum cluster_kind { CLUSTER_NONE, CLUSTER_REDIS, CLUSTER_POSTGRES };

enum {
    LISTENS_MAX           = 16,
    LISTEN_TEXT_BYTES_MAX = 63,
    ORIGINS_MAX           = 64,
    ORIGIN_BYTES_MAX      = 255,
    KEYS_MAX              = 64,
    KEY_SECRET_BYTES_MIN  = 16,
    KEY_SECRET_BYTES_MAX  = 128,
    SECRET_FILE_BYTES_MAX = 255,
    TICKET_KEY_BYTES_MIN  = 32,
    KEY_CHANNELS_BYTES_MAX = 511,         /* of an API key's `channels`, as written */
    ISSUERS_MAX           = 16,
    JWT_SECRET_BYTES_MIN  = 16,
    JWT_SECRET_BYTES_MAX  = 512,
    JWT_PLACE_BYTES_MAX   = 511,          /* of a path or an address */
    JWT_NAME_BYTES_MAX    = 255,          /* of `issuer` and `audience` */
    KEY_TEXT_BYTES_MAX    = 128 * 1024,   /* of all secrets and key files of issuers together */
    NODE_NAME_BYTES_MAX   = 64,
    STORE_URLS_MAX        = 32,
    STORE_URL_BYTES_MAX   = 1023,
};

/* A [key NAME] section. */
struct api_key {
    char     name[KEY_NAME_BYTES_MAX + 1];
    char     secret[KEY_SECRET_BYTES_MAX + 1];
    unsigned rights;
    char     secret_file[SECRET_FILE_BYTES_MAX + 1];  /* where the secret was read; "": it stands in the configuration */
    char     channels[KEY_CHANNELS_BYTES_MAX + 1];    /* patterns with commas between; "": all channels */
};

enum {
    HOOK_URL_BYTES_MAX     = 1023,
    HOOK_HEADERS_MAX       = 16,
    HOOK_HEADER_BYTES_MAX  = 63,   /* of a name */
    HOOK_HEADERS_BYTES_MAX = 1023, /* of the line */
};

/* The section [connect_hook]. */
struct hook_section {
    bool    is_there;
    char    url[HOOK_URL_BYTES_MAX + 1];
    int64_t timeout_s;
    char    headers[HOOK_HEADERS_MAX][HOOK_HEADER_BYTES_MAX + 1];
    size_t  header_count;
};

enum {
    BACKENDS_MAX             = 32,
    BACKEND_ADDRESSES_MAX    = 16,    /* of one back end */
    BACKEND_URLS_BYTES_MAX   = 2047,  /* of the line */
    UPLINKS_MAX              = 128,
    UPLINK_PATH_BYTES_MAX    = 255,
    UPLINK_HEADERS_MAX       = 16,
    UPLINK_HEADER_BYTES_MAX  = 63,    /* of a name */
    UPLINK_HEADERS_BYTES_MAX = 1023,  /* of the line */
    WEBHOOKS_MAX             = 32,
    WEBHOOK_URL_BYTES_MAX    = 1023,
};

/* How a back end is spoken to. */
enum backend_protocol {
    BACKEND_AUTO,   /* https: HTTP/2 if the back end offers it (ALPN); http: HTTP/1.1 */
    BACKEND_HTTP1,
    BACKEND_H2C,    /* HTTP/2 without TLS, by prior knowledge */
};

/* A [backend NAME] section: an ordinary HTTP service. */
struct backend_section {
    char                  name[KEY_NAME_BYTES_MAX + 1];
    char                  urls[BACKEND_URLS_BYTES_MAX + 1];  /* as written; read by url_list_next(). They don't end in '/' */
    size_t                url_count;
    enum backend_protocol protocol;
    int64_t               timeout_s, connect_timeout_s;
    uint64_t              connections_max, requests_max, retries;
};

enum uplink_delivery { AT_MOST_ONCE, AT_LEAST_ONCE };

/* An [uplink NAME] section: which requests of clients go to which back end. The first that matches counts. */
struct uplink_section {
    char                 name[KEY_NAME_BYTES_MAX + 1];
    unsigned             methods;                             /* a bit for each enum request_method */
    char                 path[UPLINK_PATH_BYTES_MAX + 1];     /* a pattern: * is a segment, ** the rest */
    char                 backend[KEY_NAME_BYTES_MAX + 1];
    enum uplink_delivery delivery;
    enum allowed         allow;
    uint64_t             body_bytes_max;
    char                 headers[UPLINK_HEADERS_BYTES_MAX + 1];  /* names in lower case, a comma between; "": none */
};

/* A [webhook NAME] section: where events are sent. */
struct webhook_section {
    char     name[KEY_NAME_BYTES_MAX + 1];
    char     url[WEBHOOK_URL_BYTES_MAX + 1];
    unsigned events;                                     /* a bit for each enum event_kind */
    char     secret[KEY_SECRET_BYTES_MAX + 1];
    char     secret_file[SECRET_FILE_BYTES_MAX + 1];     /* where the secret was read; "": it stands in the configuration */
    int64_t  timeout_s, retry_for_s;
    uint64_t batch;
};

/* The section [events]. */
struct events_section {
    bool     is_there;
    unsigned keep;  /* a bit for each enum event_kind: written although no webhook asks for it */
};

/* Where the keys of an issuer come from. */
enum jwt_source { JWT_SECRET, JWT_KEY_FILE, JWT_JWKS_FILE, JWT_JWKS_URL };

/* A [jwt NAME] section. */
struct jwt_section {
    char            name[KEY_NAME_BYTES_MAX + 1];
    enum jwt_source source;
    char            place[JWT_PLACE_BYTES_MAX + 1];    /* the file, or the address; "": a secret in the configuration */
    unsigned        algorithms;                        /* a bit for each enum jwt_algorithm; 0: those that fit the keys */
    char            issuer[JWT_NAME_BYTES_MAX + 1];    /* "": any */
    char            audience[JWT_NAME_BYTES_MAX + 1];  /* "": any, and none */
    int64_t         leeway_s;
    uint32_t        key_at, key_len;                   /* what the file said, or the secret: in settings.key_text */
};

enum { TLS_SECTIONS_MAX = 64 };

/* Whether clients are asked for a certificate, and where in it the user's name stands. */
enum client_cert { CLIENT_CERT_NONE, CLIENT_CERT_OPTIONAL, CLIENT_CERT_REQUIRED };
enum client_user { CLIENT_USER_SAN, CLIENT_USER_CN };

/* A [tls NAME] section. */
struct tls_section_files {
    char             name[KEY_NAME_BYTES_MAX + 1];
    char             certificate[SECRET_FILE_BYTES_MAX + 1];
    char             key[SECRET_FILE_BYTES_MAX + 1];
    char             client_ca[SECRET_FILE_BYTES_MAX + 1];  /* "": none */
    enum client_cert client_cert;
    enum client_user client_user;
};

/* One address of `http`, `https`, `tcp` or `tcps`, ready for bind(2). */
struct listen_address {
    struct sockaddr_storage at;
    socklen_t               len;
    char                    text[LISTEN_TEXT_BYTES_MAX + 1];  /* as configured: "127.0.0.1:8080" */
    bool                    is_loopback;
    bool                    is_native;  /* of `tcp` or `tcps` */
    bool                    is_tls;     /* of `https` or `tcps` */
};

/* The setting that it is of. */
static inline const char *listen_scheme(const struct listen_address *listen)
{
    return listen->is_native ? (listen->is_tls ? "tcps" : "tcp") : (listen->is_tls ? "https" : "http");
}

enum setting {
#define SETTING(name, takes) SETTING_##name,
#include "settings/settings.def"
    SETTING_COUNT
};

enum setting_source { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_FLAG };

/* Which devices of a user have a session at a time; the order is that of device/devices.h. */
enum devices_allowed { DEVICES_ALLOWED_ALL, DEVICES_ALLOWED_ONE_PER_CLASS, DEVICES_ALLOWED_NEWEST };

struct settings {
#define TEXT(name, def, bytes_max, takes, help)      char name[(bytes_max) + 1];
#define CHOICE(name, type, def, words, takes, help)  type name;
#define SWITCH(name, def, takes, help)               bool name;
#define COUNT(name, def, min, max, takes, help)      uint64_t name;
#define BYTES(name, def, min, max, takes, help)      uint64_t name;
#define SECONDS(name, def, min, max, takes, help)    int64_t name;
#define MSECS(name, def, min, max, takes, help)      int64_t name;
#include "settings/settings.def"

    /* `http`, `https`, `tcp`, `tcps` and `origins` as lists, made by settings_set(). The origins are rules as in
     * origin_rule.h, in lower case. */
    struct listen_address listens[LISTENS_MAX];
    size_t                listen_count;
    struct listen_address native_listens[LISTENS_MAX];
    size_t                native_listen_count;
    struct listen_address tls_listens[LISTENS_MAX];
    size_t                tls_listen_count;
    struct listen_address native_tls_listens[LISTENS_MAX];
    size_t                native_tls_listen_count;
    char                  origin_list[ORIGINS_MAX][ORIGIN_BYTES_MAX + 1];
    size_t                origin_count;
    struct ip_ranges      proxy_protocol_ranges, trusted_proxy_ranges;  /* of `proxy_protocol` and `trusted_proxies` */
    enum store_kind       store_kind;     /* of `store`; its URLs are read by url_list_next() */
    enum cluster_kind     cluster_kind;   /* of `cluster`; its URLs are read by who opens it */
    unsigned              role_bits;      /* of `roles`: enum node_role (route/node_record.h) */

    struct api_key    keys[KEYS_MAX];
    size_t            key_count;
    struct jwt_section issuers[ISSUERS_MAX];
    size_t            issuer_count;
    char              key_text[KEY_TEXT_BYTES_MAX];
    uint32_t          key_text_len;
    struct hook_section hook;
    struct backend_section backends[BACKENDS_MAX];
    size_t            backend_count;
    struct uplink_section uplinks[UPLINKS_MAX];
    size_t            uplink_count;
    struct webhook_section webhooks[WEBHOOKS_MAX];
    size_t            webhook_count;
    struct events_section events;
    struct tls_section_files tls[TLS_SECTIONS_MAX];
    size_t            tls_count;
    struct namespaces namespaces;
    char              ticket_secret[KEY_SECRET_BYTES_MAX + 1];        /* of [tickets]; "": there is no such section */
    char              ticket_secret_file[SECRET_FILE_BYTES_MAX + 1];  /* where it was read */

    enum setting_source source_of[SETTING_COUNT];
    unsigned            line_of[SETTING_COUNT];  /* in the file, for those FROM_FILE */
};

void settings_init(struct settings *settings);  /* all defaults */
void settings_fini(struct settings *settings);  /* wipes the secrets */

/* Neither keys nor issuers nor a hook: whoever reaches the server may do everything, and is who they say they are. */
static inline bool settings_are_open(const struct settings *settings)
{
    return settings->key_count == 0 && settings->issuer_count == 0 && !settings->hook.is_there;
}

/* Those that [events] keep or a webhook asks for, as bits of enum event_kind. */
unsigned settings_event_kinds(const struct settings *settings);

/* The [backend NAME] with this name, or NULL. */
const struct backend_section *settings_backend(const struct settings *settings, struct span name);

/* "secret", "key_file", "jwks": the line of the section that says it. */
const char *jwt_source_name(enum jwt_source source);

/* The setting with this name; '-' and '_' are the same. False: there is none. */
bool setting_find(struct span name, enum setting *ret_setting);
const char *setting_name(enum setting setting);
bool        setting_is_switch(enum setting setting);
bool        setting_is_reloadable(enum setting setting);  /* else a change takes a restart */

/* Reads `value` into its field. False: the value can't be used, nothing changed, and `why` says what is allowed:
 * "must be a number from 0 to 64". */
bool settings_set(struct settings *settings, enum setting setting, struct span value, struct buf *why);

/* After the last settings_set(): compares settings with each other. False: `why` says what does not fit, as a whole
 * sentence that names the settings. */
bool settings_finish(struct settings *settings, struct buf *why);

/* A reload, in settings_reload.c. *settings are in force; `fresh` was read now; both were finished. What differs and
 * may change while the server runs is taken from `fresh` into *settings. `changed` names these settings, with
 * commas, and `kept` names those that differ but take a restart; neither holds a secret. False: `why` says why not,
 * as a whole sentence, and *settings are half changed, so that the caller must drop them. */
bool settings_reload(struct settings *settings, const struct settings *fresh, struct buf *changed, struct buf *kept,
                     struct buf *why);

/* Texts for people: the options of --help, a configuration file with every default, docs/configuration.md, and the
 * settings in force with their source. Secrets are masked. */
void settings_print_help(struct buf *out);
void settings_print_config(struct buf *out);
void settings_print_docs(struct buf *out);
void settings_print_in_force(const struct settings *settings, struct buf *out);

/* One value as it would stand in the file. */
void setting_print(const struct settings *settings, enum setting setting, struct buf *out);

#endif
