/* device_manager.h - the application changes members, revokes what phones have, and acknowledges for them. */
#ifndef SIM_DEVICE_MANAGER_H
#define SIM_DEVICE_MANAGER_H

#include "device_world.h"
#include "wire_client.h"

enum { REVOKED_MAX = 64 };

enum revoke_what { REVOKE_USER, REVOKE_PHONE, REVOKE_JTI, REVOKE_CONNECTION };

/* `from` and `until`: the second of the revocation lies between, as far as the one who asks can know. */
struct told_revocation {
    enum revoke_what what;
    unsigned         user, no;       /* of a phone */
    uint64_t         jti, connection;
    int64_t          from_s, until_s;
    msec             answered_at;    /* -1: not yet */
};

struct managers {
    struct device_world   *all;
    struct object_reader   objects;
    unsigned               count;
    struct manager        *at;
    bool                   are_leaving;
    unsigned               revoked_count;
    struct told_revocation revoked[REVOKED_MAX];
};

struct managers *managers_new(struct device_world *all);
void managers_free(struct managers *managers);
void managers_turn(struct managers *managers);
void managers_cut(struct managers *managers, struct loop_range range);
void managers_leave(struct managers *managers);
bool managers_are_done(const struct managers *managers);

#endif
