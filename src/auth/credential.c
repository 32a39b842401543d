#include "auth/credential.h"

#include "codec/url/url.h"

enum { CLAIM_BYTES = 1024 };  /* of user= and device=, decoded; longer ones are no names anyway */

void credential_scratch_init(struct credential_scratch *scratch)
{
    buf_init(&scratch->token, CREDENTIAL_BYTES_MAX);
    buf_init(&scratch->user, CLAIM_BYTES);
    buf_init(&scratch->device, CLAIM_BYTES);
}

void credential_scratch_fini(struct credential_scratch *scratch)
{
    buf_fini(&scratch->token);
    buf_fini(&scratch->user);
    buf_fini(&scratch->device);
}

/* RFC 6750 2.1. False: another scheme, which is meant for somebody else on the way, such as a proxy. */
static bool bearer_token(struct span authorization, struct span *ret_token)
{
    struct span scheme;

    if (!span_cut(&authorization, ' ', &scheme) || !span_eq_nocase(scheme, SPAN("bearer")))
        return false;
    *ret_token = span_trim(authorization);
    return true;
}

bool credential_is_parameter(struct span name)
{
    return span_eq(name, SPAN("access_token")) || span_eq(name, SPAN("user")) || span_eq(name, SPAN("device"));
}

/* What can't be decoded becomes a name that nobody can have. */
static struct span claim_of(struct span encoded, struct buf *scratch)
{
    struct span plain;

    return url_decode(encoded, URL_QUERY, scratch, &plain) ? plain : SPAN("/");
}

static void show_token(struct credential *credential, struct span token)
{
    credential->kind  = token.len > CREDENTIAL_BYTES_MAX ? CREDENTIAL_UNUSABLE : CREDENTIAL_TOKEN;
    credential->token = token;
}

static void read_token(struct credential *credential, struct span encoded, struct buf *scratch)
{
    struct span token;

    if (url_decode(encoded, URL_QUERY, scratch, &token))
        show_token(credential, token);
    else
        credential->kind = CREDENTIAL_UNUSABLE;
}

static struct credential credential_of_query(struct span query, struct credential_scratch *scratch)
{
    struct credential credential = { .kind = CREDENTIAL_NONE };
    struct span       name, value;

    while (url_query_next(&query, &name, &value)) {
        if (span_eq(name, SPAN("access_token")))
            read_token(&credential, value, &scratch->token);
        else if (span_eq(name, SPAN("user")))
            credential.user = claim_of(value, &scratch->user);
        else if (span_eq(name, SPAN("device")))
            credential.device = claim_of(value, &scratch->device);
    }
    return credential;
}

struct credential credential_of_request(struct span authorization, struct span query,
                                        struct credential_scratch *scratch)
{
    struct credential credential = credential_of_query(query, scratch);
    struct span       token;

    if (bearer_token(authorization, &token))
        show_token(&credential, token);
    return credential;
}

struct credential credential_of_token(struct span token)
{
    struct credential credential = { 0 };

    show_token(&credential, token);
    return credential;
}

struct ip_address credential_address(const struct credential *credential)
{
    struct ip_address address;

    if (credential->get_address != NULL && credential->get_address(credential->sender, &address))
        return address;
    return IP_UNKNOWN;
}

uint64_t credential_customer(const struct credential *credential)
{
    const struct ip_address address = credential_address(credential);

    return ip_customer(&address);
}
