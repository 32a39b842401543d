/* rc.h - how a call ended that depends on the system or on a bound of ours. Bad input from a peer is a verdict of a
 * codec, not an rc; our own mistakes are must(). */
#ifndef BASE_RC_H
#define BASE_RC_H

enum rc {
    RC_OK = 0,
    RC_NOMEM,    /* no memory or thread, at a place that can refuse */
    RC_FULL,     /* a bound of ours is reached */
    RC_NOSPACE,  /* the disk is full, or a quota is */
    RC_IO,       /* the disk or the network failed; nobody knows how much was written */
    RC_GONE,     /* closed, or it never existed */
    RC_BUSY,     /* another owner holds it */
    RC_CORRUPT,  /* a checksum or the form is wrong */
    RC_DENIED,   /* not allowed by the system */
    RC_BAD,      /* an argument or a setting can't be used */
};

#define RC_MUST_USE __attribute__((warn_unused_result))

/* A word for logs: "no space". Never NULL. */
const char *rc_text(enum rc rc);

#endif
