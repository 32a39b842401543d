#include "auth/identity.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

struct identity *identity_new(const char *name, unsigned rights)
{
    struct identity *identity = calloc(1, sizeof *identity);

    must(identity != NULL && (rights & ~(unsigned)KEY_RIGHTS_ALL) == 0);
    identity->refs   = 1;
    identity->rights = rights;
    snprintf(identity->name, sizeof identity->name, "%s", name);
    return identity;
}

struct identity *identity_ref(struct identity *identity)
{
    must(identity->refs > 0 && identity->refs < UINT32_MAX);
    identity->refs++;
    return identity;
}

void identity_unref(struct identity *identity)
{
    if (identity == NULL)
        return;
    must(identity->refs > 0);
    if (--identity->refs == 0)
        free(identity);
}

void identity_revoke(struct identity *identity)
{
    must(!identity->is_revoked);
    identity->is_revoked = true;
    identity_unref(identity);
}
