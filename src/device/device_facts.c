#include "device/device_facts.h"

bool receipt_is_acknowledged(const struct device_facts *facts, const struct receipt_message *message)
{
    return facts->has_place && facts->place_epoch == message->epoch && facts->place_seq >= message->seq;
}

/* A session begins at the heads of its channels. So what was accepted before counts as acknowledged by its places, and
 * was never for it. */
static bool is_older(const struct device_facts *facts, const struct receipt_message *message)
{
    return message->time != 0 && message->time < facts->since;
}

static bool is_written(const struct device_facts *facts, const struct receipt_message *message)
{
    const struct link_view *link = &facts->link;

    return facts->is_link_told && link->is_there && link->is_own && link->is_placed && !link->is_silent &&
           link->epoch == message->epoch && link->seen >= message->seq;
}

enum receipt_state receipt_judge(const struct device_facts *facts, const struct receipt_message *message, msec now,
                                 msec *ret_time)
{
    *ret_time = 0;
    if (receipt_is_acknowledged(facts, message)) {
        *ret_time = is_older(facts, message) ? 0 : facts->place_wall;
        return is_older(facts, message) ? RECEIPT_NOT_MEANT : RECEIPT_ACKNOWLEDGED;
    }
    if (!is_written(facts, message))
        return RECEIPT_PENDING;
    *ret_time = now;
    return RECEIPT_WRITTEN;
}

const char *receipt_state_text(enum receipt_state state)
{
    static const char *const texts[] = { [RECEIPT_PENDING]      = "pending",
                                         [RECEIPT_WRITTEN]      = "written",
                                         [RECEIPT_ACKNOWLEDGED] = "acknowledged",
                                         [RECEIPT_NOT_MEANT]    = "not_meant" };
    return texts[state];
}
