#include "http/h2_ended.h"

void h2_ended_begin(struct h2_ended *ended, uint32_t id)
{
    uint32_t usual = ended->top == 0 ? 1 : ended->top + 2;

    if (id > usual) {
        ended->passed_from = usual;
        ended->passed_to   = id;
    }
    ended->top = id;
}

void h2_ended_note(struct h2_ended *ended, uint32_t id)
{
    ended->ids[ended->next++ % H2_ENDED_KEPT] = id;
}

enum h2_ended_verdict h2_ended_judge(const struct h2_ended *ended, uint32_t id)
{
    if (id >= ended->passed_from && id < ended->passed_to)
        return H2_ENDED_PASSED_OVER;
    for (int i = 0; i < H2_ENDED_KEPT; i++)
        if (ended->ids[i] == id && id != 0)
            return H2_ENDED_BY_CLIENT;
    return H2_ENDED_FINE;
}
