#include "device/why_steps.h"

#include "base/must.h"

/* --- membership ------------------------------------------------------------------------------------------------- */

static bool span_holds(const struct group_span *span, const struct receipt_message *message)
{
    const struct group_spans one = { .count = 1, .spans = { *span } };

    return group_spans_next(&one, message->epoch, message->seq) == message->seq;
}

struct why_membership why_membership_of(const struct group_spans *spans, uint64_t spans_seq,
                                        const struct receipt_message *message)
{
    struct why_membership ret = { 0 };

    for (size_t i = 0; i < spans->count; i++) {
        const struct group_span *span     = &spans->spans[i];
        bool                     is_last  = i + 1 == spans->count, is_open = span->until == GROUP_SPAN_OPEN;
        uint64_t                 joined   = is_open ? spans_seq : span->joined;
        uint64_t                 left     = is_last && !is_open ? spans_seq : 0;
        if (span_holds(span, message))
            return (struct why_membership){ .joined = joined, .left = left, .is_member_then = true };
        if (span->epoch == message->epoch && span->until < message->seq) {
            ret.is_earlier = true;
            ret.left       = left;
        } else if (!ret.is_later && span->epoch == message->epoch && span->after >= message->seq) {
            ret.is_later = true;
            ret.joined   = joined;
        }
    }
    return ret;
}

/* --- steps ------------------------------------------------------------------------------------------------------ */

static struct why_step *step_add(struct why_told *told, const char *what, msec time)
{
    must(told->count < WHY_STEPS_MAX);
    struct why_step *step = &told->steps[told->count++];
    *step                 = (struct why_step){ .what = what, .time = time };
    return step;
}

/* In the order of their times; a step whose time is not known stays behind the one that it was told after. */
static void steps_sort(struct why_told *told)
{
    msec when[WHY_STEPS_MAX], last = 0;

    for (size_t i = 0; i < told->count; i++)
        when[i] = last = told->steps[i].time != 0 ? told->steps[i].time : last;
    for (size_t i = 1; i < told->count; i++)
        for (size_t at = i; at > 0 && when[at - 1] > when[at]; at--) {
            const struct why_step step = told->steps[at];
            const msec            time = when[at];
            told->steps[at]     = told->steps[at - 1];
            told->steps[at - 1] = step;
            when[at]             = when[at - 1];
            when[at - 1]         = time;
        }
}

/* --- what came before the link ---------------------------------------------------------------------------------- */

static void tell_membership(const struct why_facts *facts, const struct why_membership *membership, struct why_told *told)
{
    if (membership->is_member_then)
        step_add(told, "joined", facts->joined);
    if (membership->is_member_then && membership->left != 0)
        step_add(told, "left", facts->left);
    if (membership->is_earlier)
        step_add(told, "left_earlier", facts->left);
    if (membership->is_later)
        step_add(told, "joined_later", facts->joined);
    if (!membership->is_member_then && !membership->is_later && !membership->is_earlier)
        step_add(told, "never_member", 0);
}

static void tell_session(const struct why_facts *facts, bool is_later, struct why_told *told)
{
    const struct device_facts *device = facts->device;

    if (device->generation != 0)
        step_add(told, is_later ? "session_began_later" : "session_began", device->since);
    else if (facts->has_ended)
        step_add(told, "session_ended", device->seen);
    else
        step_add(told, "no_session", 0);
}

static void tell_message(const struct why_facts *facts, struct why_told *told)
{
    step_add(told, "stored", facts->message.time);
    if (facts->gone != NULL)
        step_add(told, facts->gone, 0);
    if (facts->is_recalled)
        step_add(told, "recalled", facts->recalled);
}

static void tell_link(const struct why_facts *facts, struct why_told *told)
{
    const struct device_facts *device = facts->device;

    if (device->key != 0)
        step_add(told, "connected", facts->linked)->is_of_link = true;
    else if (device->is_online)
        step_add(told, "between_polls", device->seen);
    else
        step_add(told, "not_connected", device->seen);
}

/* --- how far it came -------------------------------------------------------------------------------------------- */

static void tell_place(const struct why_facts *facts, const char *what, struct why_told *told)
{
    step_add(told, what, facts->device->place_wall)->seq = facts->device->place_seq;
}

/* Since both are there: the message and a link that follows the channel. 0: nobody knows since when, as for a channel
 * that a client asks for. */
static msec routed_since(const struct why_facts *facts)
{
    if (facts->way == WHY_ASKED || facts->linked == 0)
        return 0;
    return facts->linked > facts->message.time ? facts->linked : facts->message.time;
}

static bool link_follows(const struct device_facts *device)
{
    return device->is_link_told && device->link.is_there;
}

static bool link_has_passed(const struct why_facts *facts)
{
    const struct link_view *link = &facts->device->link;

    return link_follows(facts->device) && link->is_placed && link->epoch == facts->message.epoch &&
           link->seen >= facts->message.seq;
}

static void tell_link_word(const struct why_facts *facts, const char *what, struct why_told *told)
{
    struct why_step *step = step_add(told, what, facts->now);

    step->is_of_link = true;
    if (link_follows(facts->device) && facts->device->link.epoch == facts->message.epoch)
        step->seq = facts->device->link.seen;
}

/* How far the link is with a message that it has not passed. */
static void tell_behind(const struct why_facts *facts, struct why_told *told)
{
    const struct device_facts *device = facts->device;

    if (device->key == 0)
        return;
    if (!device->is_link_told)
        tell_link_word(facts, "not_answered", told);
    else if (!device->link.is_there)
        tell_link_word(facts, "not_following", told);
    else if (device->link.is_silent)
        tell_link_word(facts, "told_of_head", told);
    else
        tell_link_word(facts, "behind", told);
}

static void tell_routed(const struct why_facts *facts, struct why_told *told)
{
    if (link_follows(facts->device) && routed_since(facts) != 0)
        step_add(told, "routed", routed_since(facts))->is_of_link = true;
}

static const char *tell_passed(const struct why_facts *facts, struct why_told *told)
{
    if (!facts->device->link.is_own || facts->gone != NULL) {
        tell_link_word(facts, "passed", told);
        return facts->gone != NULL ? facts->gone : "passed";
    }
    const char *what = facts->is_collapsible ? "written_or_collapsed" : "written";
    tell_link_word(facts, what, told);
    return what;
}

/* It is for this device, and was not acknowledged. */
static const char *tell_delivery(const struct why_facts *facts, struct why_told *told)
{
    const struct device_facts *device = facts->device;

    /* Its first place, where the session began, is no acknowledgement; one at 0 says nothing at all. */
    if (device->has_place && device->place_seq > 0)
        tell_place(facts, device->place_epoch == facts->message.epoch ? "place_before" : "place_in_earlier_epoch",
                   told);
    tell_routed(facts, told);
    if (link_has_passed(facts) && !device->link.is_silent)
        return tell_passed(facts, told);
    tell_behind(facts, told);
    if (facts->gone == NULL && facts->expires_at != 0)
        step_add(told, "expires", facts->expires_at);
    return facts->gone != NULL ? facts->gone : "pending";
}

/* The session keeps the channel since a time that nobody knows: its place may have been behind the message from the
 * beginning. */
static const char *tell_acknowledged(const struct why_facts *facts, struct why_told *told)
{
    const char *what = facts->way == WHY_ASKED ? "passed" : "acknowledged";

    tell_place(facts, what, told);
    return what;
}

static bool is_followed(const struct why_facts *facts)
{
    const struct device_facts *device = facts->device;

    return facts->way != WHY_ASKED || (device->has_place && device->is_kept) || device->link.is_there ||
           (device->key != 0 && !device->is_link_told);
}

static const char *tell_way(const struct why_facts *facts, struct why_told *told)
{
    if (!is_followed(facts)) {
        step_add(told, "never_followed", 0);
        return "not_meant";
    }
    if (receipt_is_acknowledged(facts->device, &facts->message))
        return tell_acknowledged(facts, told);
    return tell_delivery(facts, told);
}

void why_tell(const struct why_facts *facts, struct why_told *ret)
{
    struct why_membership membership = { .is_member_then = true };
    msec                  time;
    bool is_later = facts->device->generation != 0 &&
                    receipt_judge(facts->device, &facts->message, facts->now, &time) == RECEIPT_NOT_MEANT;

    *ret = (struct why_told){ .state = "not_meant" };
    tell_session(facts, is_later, ret);
    if (facts->way == WHY_MEMBER) {
        membership = why_membership_of(facts->spans, facts->spans_seq, &facts->message);
        tell_membership(facts, &membership, ret);
    }
    tell_message(facts, ret);
    if (facts->device->generation == 0) {
        ret->state = "no_session";
    } else {
        tell_link(facts, ret);
        if (!is_later && membership.is_member_then)
            ret->state = tell_way(facts, ret);
    }
    steps_sort(ret);
}
