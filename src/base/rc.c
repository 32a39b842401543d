#include "base/rc.h"

const char *rc_text(enum rc rc)
{
    switch (rc) {
    case RC_OK: return "ok";
    case RC_NOMEM: return "no memory";
    case RC_FULL: return "full";
    case RC_NOSPACE: return "no space";
    case RC_IO: return "input/output error";
    case RC_GONE: return "gone";
    case RC_BUSY: return "busy";
    case RC_CORRUPT: return "corrupt";
    case RC_DENIED: return "denied";
    case RC_BAD: return "bad value";
    }
    return "unknown";
}
