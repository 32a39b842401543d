#include "auth/credential.h"

#include "codec/url/url.h"

static struct credential credential_of_authorization(struct span value)
{
    struct span scheme;

    if (!span_cut(&value, ' ', &scheme) || !span_eq_nocase(scheme, SPAN("bearer")))
        return (struct credential){ .kind = CREDENTIAL_UNUSABLE };
    return credential_of_token(span_trim(value));
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
    return authorization.at != NULL ? credential_of_authorization(authorization) : credential_of_query(query, scratch);
}

struct credential credential_of_token(struct span token)
{
    return (struct credential){ .kind = CREDENTIAL_TOKEN, .token = token };
}
