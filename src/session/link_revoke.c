#include "session/link_revoke.h"

#include "node/connection_key.h"
#include "session/device_link.h"
#include "session/link.h"

/* As its token names it, else as the session is called. */
static struct span device_of(const struct link *link)
{
    struct span device = identity_device(link->holder);

    return device.len == 0 && link_device(link) != NULL ? device_link_device(link_device(link)) : device;
}

/* What the link's identity was issued as. The connection of a link is not what its token was issued on, but a connection
 * that is revoked ends whatever its token says. */
static bool link_is_revoked_by(const struct link *link, const struct revocation *revocation)
{
    const struct identity *holder = link->holder;
    uint64_t               key;

    if (revocation->kind == REVOKED_CONNECTION)
        return connection_key_read(revocation->name, &key) && key == link->key;
    return holder != NULL && revocation_refuses(revocation, &(struct revocable){
        .user = identity_user(holder), .device = device_of(link), .jti = identity_jti(holder),
        .issued_at = (uint64_t)(holder->issued_at / 1000),
    });
}

static uint64_t end_revoked(struct near_list *links, const struct revocation *revocation)
{
    uint64_t count = 0;

    for (struct near_list *at = near_list_next(links), *next; at != links; at = next) {
        struct link *link = container_of(at, struct link, in_worker);
        next              = near_list_next(at);  /* end() may end this link, and no other */
        if (link->is_over || !link_is_revoked_by(link, revocation))
            continue;
        link->kind->end(link, LINK_END_REVOKED);
        count++;
    }
    return count;
}

uint64_t session_worker_revoke(struct session_worker *worker, const struct revocation *revocation)
{
    return end_revoked(&worker->lists->links, revocation) + end_revoked(&worker->lists->polls, revocation);
}

void session_worker_find_unwelcome(struct session_worker *worker)
{
    struct near_list *links = &worker->lists->links;

    for (struct near_list *at = near_list_next(links); at != links; at = near_list_next(at)) {
        struct link *link = container_of(at, struct link, in_worker);
        if (!link->is_over && link->holder != NULL && identity_is_revoked(link->holder) && link->kind->unwelcome != NULL)
            link->kind->unwelcome(link);
    }
}
