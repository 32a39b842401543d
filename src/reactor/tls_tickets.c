#include "reactor/tls_tickets.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "reactor/loop.h"

enum { KEY_MS = TLS_TICKET_KEY_S * 1000 };

struct tls_tickets {
    EVP_CIPHER           *aes;   /* fetched once: looking it up by its name costs as much as a ticket */
    pthread_mutex_t       lock;  /* held for a copy, or once an hour for a new key */
    struct tls_ticket_key keys[TLS_TICKET_KEYS];  /* the newest first */
};

struct tls_tickets *tls_tickets_new(void)
{
    /* OpenSSL's secure heap is for few and small secrets, such as these; without one it is a plain malloc. */
    struct tls_tickets *tickets = OPENSSL_secure_zalloc(sizeof *tickets);

    must(tickets != NULL && pthread_mutex_init(&tickets->lock, NULL) == 0);
    tickets->aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    must(tickets->aes != NULL);
    return tickets;
}

void tls_tickets_free(struct tls_tickets *tickets)
{
    if (tickets == NULL)
        return;
    pthread_mutex_destroy(&tickets->lock);
    EVP_CIPHER_free(tickets->aes);
    OPENSSL_secure_clear_free(tickets, sizeof *tickets);
}

/* --- the keys ------------------------------------------------------------------------------------------------ */

static bool key_make(struct tls_ticket_key *key, msec now)
{
    key->made_at = now;
    return RAND_bytes(key->name, sizeof key->name) == 1 && RAND_priv_bytes(key->cipher, sizeof key->cipher) == 1 &&
           RAND_priv_bytes(key->mac, sizeof key->mac) == 1;
}

static bool keys_rotate(struct tls_tickets *tickets, msec now)
{
    struct tls_ticket_key fresh;

    if (!key_make(&fresh, now))
        return false;
    memmove(&tickets->keys[1], &tickets->keys[0], sizeof tickets->keys - sizeof tickets->keys[0]);
    tickets->keys[0] = fresh;
    OPENSSL_cleanse(&fresh, sizeof fresh);
    return true;
}

bool tls_tickets_newest(struct tls_tickets *tickets, msec now, struct tls_ticket_key *ret)
{
    pthread_mutex_lock(&tickets->lock);
    bool is_due  = tickets->keys[0].made_at == 0 || now - tickets->keys[0].made_at >= KEY_MS;
    bool is_good = !is_due || keys_rotate(tickets, now);
    *ret         = tickets->keys[0];
    pthread_mutex_unlock(&tickets->lock);
    return is_good;
}

/* A key goes when its time is over, also if no new one has pushed it out: then nobody has asked for a ticket. */
bool tls_tickets_find(struct tls_tickets *tickets, msec now, const unsigned char *name, struct tls_ticket_key *ret)
{
    bool is_found = false;

    pthread_mutex_lock(&tickets->lock);
    for (size_t i = 0; i < TLS_TICKET_KEYS; i++) {
        struct tls_ticket_key *key = &tickets->keys[i];
        if (key->made_at != 0 && now - key->made_at >= TLS_TICKET_KEYS * KEY_MS)
            OPENSSL_cleanse(key, sizeof *key);
        if (key->made_at == 0 || memcmp(key->name, name, sizeof key->name) != 0)
            continue;
        *ret     = *key;
        is_found = true;
    }
    pthread_mutex_unlock(&tickets->lock);
    return is_found;
}

/* --- the callback of OpenSSL ----------------------------------------------------------------------------------- */

static bool mac_begin(EVP_MAC_CTX *mac, struct tls_ticket_key *key)
{
    char       digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* A client of TLS 1.2 may use a ticket again until its key goes, so it gets a new one only when there is a newer key: that spares
 * a resumed handshake a ticket. A client of 1.3 shall use each ticket once (RFC 8446 C.4), and gets a new one each time. */
static bool ticket_is_stale(SSL *ssl, const struct tls_ticket_key *key)
{
    return SSL_version(ssl) == TLS1_3_VERSION || clock_now() - key->made_at >= KEY_MS;
}

/* 0: unknown key, so a full handshake; 1: good; 2: good, and the client is given a new ticket. -1: a fault. */
static int ticket_protect(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                          int is_new)
{
    struct tls_tickets   *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct tls_ticket_key key;
    int                   verdict;

    if (is_new) {
        verdict = tls_tickets_newest(tickets, clock_now(), &key) && RAND_bytes(iv, EVP_CIPHER_get_iv_length(tickets->aes)) == 1 &&
                  EVP_EncryptInit_ex2(cipher, tickets->aes, key.cipher, iv, NULL) == 1 && mac_begin(mac, &key) ? 1 : -1;
        memcpy(name, key.name, sizeof key.name);
    } else if (!tls_tickets_find(tickets, clock_now(), name, &key)) {
        return 0;
    } else {
        verdict = !mac_begin(mac, &key) || EVP_DecryptInit_ex2(cipher, tickets->aes, key.cipher, iv, NULL) != 1 ? -1 :
                  ticket_is_stale(ssl, &key) ? 2 : 1;
    }
    OPENSSL_cleanse(&key, sizeof key);
    return verdict;
}

void tls_tickets_use(struct tls_tickets *tickets, SSL_CTX *context)
{
    must(SSL_CTX_set_app_data(context, tickets) == 1);
    must(SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ticket_protect) == 1);
}
