/* client_mode.c - how channels are delivered to a client: messages, or notifies alone (notify.h); and `subscribe` of a channel
 * that is followed already, which changes that.
 *
 *     {"type":"subscribe","channel":C,"mode":"push","after":SEQ}   pull: messages from behind SEQ on
 *     {"type":"subscribe","channel":C,"mode":"notify"}             then be told heads again */
#include "session/client.h"
#include "session/device_link.h"

void client_take_mode(struct client *client, const struct client_connect *connect)
{
    if (connect->mode != MODE_NOT_SAID)
        client->link.is_notify = connect->mode == MODE_NOTIFY;
}

bool client_knows_place(const struct reader_sub *sub)
{
    return sub->sub.is_told;
}

uint64_t client_known_head(const struct reader_sub *sub)
{
    return subscription_is_placed(&sub->sub) ? subscription_head(&sub->sub) : subscription_seen(&sub->sub);
}

/* From the place where it stands. */
static void client_mute(struct client *client, struct reader_sub *sub, struct span ref)
{
    struct link *link  = &client->link;
    uint64_t     epoch = subscription_is_placed(&sub->sub) ? subscription_epoch(&sub->sub) : subscription_seen_epoch(&sub->sub);

    notify_set(link, sub, MODE_NOTIFY);
    subscription_let_go(&sub->sub);
    client_say(client, &(struct client_event){
        .kind = EVENT_SUBSCRIBED, .ref = ref,
        .subscribed = { channel_name_span(subscription_name(&sub->sub)), epoch, client_known_head(sub) },
    });
    link_look_again(link);
}

/* The same of the log by which the link hears of groups. Nobody named the place, so nothing is acknowledged. */
static void client_mute_user(struct client *client, struct reader_sub *sub, struct span ref)
{
    struct link       *link = &client->link;
    const struct start here = { START_AFTER, subscription_seen(&sub->sub), subscription_seen_epoch(&sub->sub) };

    device_link_listen_beside(link, sub);
    sub               = device_link_move(link, sub, here);
    sub->sub.is_named = false;
    notify_set(link, sub, MODE_NOTIFY);
    client_keep_ref(client, sub, ref);
}

/* From the place that the client names. A session acknowledges it. */
static struct reader_sub *client_follow_anew(struct client *client, struct reader_sub *sub, struct start start)
{
    struct link *link = &client->link;

    if (sub->sub.is_own)
        return device_link_move(link, sub, start);
    bool                 is_bounded = sub->sub.is_bounded, is_watched = sub->sub.is_watched;
    struct channel_name *name       = channel_name_ref(subscription_name(&sub->sub));
    link_unfollow(link, sub);
    sub                 = link_follow(link, name, start);
    sub->sub.is_bounded = is_bounded;
    sub->sub.is_watched = is_watched;
    channel_name_unref(name);
    return sub;
}

bool client_change_mode(struct client *client, struct reader_sub *sub, const struct client_subscribe *subscribe,
                        struct span ref)
{
    struct link *link = &client->link;

    if (subscribe->mode == MODE_NOT_SAID || subscribe->is_kept || subscribe->is_watched || !client_knows_place(sub))
        return false;
    if (subscribe->mode == MODE_NOTIFY && subscribe->start.kind == START_NOW) {
        if (device_link_listens_by(link, sub))
            client_mute_user(client, sub, ref);
        else
            client_mute(client, sub, ref);
        return true;
    }
    if (subscribe->start.kind != START_AFTER) {
        client_say_error(client, 400, "name the place to pull from: after, and epoch if you know it", ref);
        return true;
    }
    if (subscribe->mode == MODE_NOTIFY && device_link_listens_by(link, sub))
        device_link_listen_beside(link, sub);
    sub = client_follow_anew(client, sub, subscribe->start);
    notify_set(link, sub, subscribe->mode);
    client_keep_ref(client, sub, ref);
    return true;
}
