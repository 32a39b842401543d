#include "cluster/engine.h"

#include <stdlib.h>

void engine_call_fini(struct engine_call *call)
{
    for (size_t i = 0; i < call->lease_count; i++)
        buf_fini(&call->leases[i].record);
    free(call->leases);
    free(call->ids);
    call->leases      = NULL;
    call->lease_count = 0;
    call->ids         = NULL;
    call->id_count    = 0;
}
