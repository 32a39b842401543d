#include "auth/credential.h"

#include "codec/url/url.h"

/* RFC 6750 2.1. False: another scheme, which is meant for somebody else on the way, such as a proxy. */
static bool bearer_token(struct span authorization, struct span *ret_token)
{
    struct span scheme;

    if (!span_cut(&authorization, ' ', &scheme) || !span_eq_nocase(scheme, SPAN("bearer")))
        return false;
    *ret_token = span_trim(authorization);
    return true;
}

static struct credential credential_of_query(struct span query, struct buf *scratch)
{
    struct credential credential = { .kind = CREDENTIAL_NONE };
    struct span       name, value, token;

    while (url_query_next(&query, &name, &value)) {
        if (!span_eq(name, SPAN("access_token")))
            continue;
        buf_clear(scratch);
        credential = url_decode(value, URL_QUERY, scratch, &token) ? credential_of_token(token)
                                                                   : (struct credential){ .kind = CREDENTIAL_UNUSABLE };
    }
    return credential;
}

struct credential credential_of_request(struct span authorization, struct span query, struct buf *scratch)
{
    struct span token;

    return bearer_token(authorization, &token) ? credential_of_token(token) : credential_of_query(query, scratch);
}

struct credential credential_of_token(struct span token)
{
    return (struct credential){ .kind = CREDENTIAL_TOKEN, .token = token };
}
