/* rc.h - how a call ended when the world was short. Bad input from a peer is a codec's verdict, not an rc;
 * our own mistakes are must(). */
#ifndef BASE_RC_H
#define BASE_RC_H

enum rc {
    RC_OK = 0,
    RC_NOMEM,    /* no memory, where we refuse politely */
    RC_FULL,     /* a bound of ours is reached */
    RC_NOSPACE,  /* the disk is full, or a quota is */
    RC_IO,       /* the disk or the network failed; what was written can't be trusted */
    RC_GONE,     /* closed, or never was */
    RC_BUSY,     /* somebody else holds it */
    RC_CORRUPT,  /* a checksum or a form doesn't fit */
    RC_DENIED,   /* not allowed by the system */
    RC_BAD,      /* an argument or a setting can't be used */
};

#define RC_MUST_USE __attribute__((warn_unused_result))

/* A word for logs: "no space". Never NULL. */
const char *rc_text(enum rc rc);

#endif
