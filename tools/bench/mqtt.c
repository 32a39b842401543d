/* MQTT 3.1.1 over TCP: mosquitto. QoS 0 both ways; the "acked" publisher uses QoS 1. No keep-alive, so no pings. */
#include "bench/dialect.h"

#include <stdio.h>

enum mqtt_packet { MQTT_CONNACK = 2, MQTT_PUBLISH = 3, MQTT_PUBACK = 4, MQTT_SUBACK = 9 };

struct mqtt_cut {
    enum mqtt_packet packet;
    struct span      body;
    size_t           wire_bytes;
};

/* MQTT 3.1.1, 2.2.3: seven bits a byte, lowest first. */
static void mqtt_put_head(struct buf *out, unsigned first, size_t len)
{
    buf_putc(out, (char)first);
    do {
        buf_putc(out, (char)((len & 0x7f) | (len > 0x7f ? 0x80 : 0)));
        len >>= 7;
    } while (len > 0);
}

static void mqtt_put_u16(struct buf *out, size_t value)
{
    buf_putc(out, (char)(value >> 8 & 0xff));
    buf_putc(out, (char)(value & 0xff));
}

static void mqtt_put_text(struct buf *out, struct span text)
{
    mqtt_put_u16(out, text.len);
    buf_put(out, text);
}

static struct span mqtt_topic(const struct client *client, uint32_t channel, char *scratch, size_t room_bytes)
{
    int len = snprintf(scratch, room_bytes, "%s%u", client->target->prefix, channel);
    return span_of(scratch, (size_t)len);
}

/* CONNECT (3.1): protocol level 4, clean session, keep-alive 0. */
static void mqtt_connect(struct client *client)
{
    char id[32];
    int  len = snprintf(id, sizeof id, "bench-%u", client->id);
    mqtt_put_head(&client->out, 0x10, 10 + 2 + (size_t)len);
    buf_put(&client->out, span_of("\0\4MQTT\4\2\0\0", 10));
    mqtt_put_text(&client->out, span_of(id, (size_t)len));
}

/* SUBSCRIBE (3.8) need not wait for CONNACK (3.1.4). */
static void mqtt_greet_subscriber(struct client *client)
{
    char        scratch[256];
    struct span topic = mqtt_topic(client, client->channel, scratch, sizeof scratch);
    mqtt_connect(client);
    mqtt_put_head(&client->out, 0x82, 2 + 2 + topic.len + 1);
    mqtt_put_u16(&client->out, 1);
    mqtt_put_text(&client->out, topic);
    buf_putc(&client->out, 0);
}

static bool mqtt_cut(struct span bytes, struct mqtt_cut *ret_cut)
{
    size_t len = 0, head = 1;
    for (unsigned shift = 0;; shift += 7) {
        if (head == bytes.len || bytes.len == 0)
            return false;
        unsigned char byte = (unsigned char)bytes.at[head++];
        len |= (size_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    if (bytes.len - head < len)
        return false;
    *ret_cut = (struct mqtt_cut){ (unsigned char)bytes.at[0] >> 4, span_of(bytes.at + head, len), head + len };
    return true;
}

static size_t mqtt_hear(struct span bytes, enum mqtt_packet ready, struct note *ret_note)
{
    struct mqtt_cut cut;
    if (!mqtt_cut(bytes, &cut))
        return 0;
    const char *at;
    switch (cut.packet) {
    case MQTT_CONNACK:
    case MQTT_SUBACK:
        /* Both end with a code: 0 is accepted, QoS 0 granted (3.2.2.3, 3.9.3). */
        if (cut.body.len == 0 || cut.body.at[cut.body.len - 1] != 0)
            return dialect_fault(bytes, "the broker refused to connect or subscribe", ret_note);
        ret_note->heard = cut.packet == ready ? HEARD_READY : HEARD_NOISE;
        break;
    case MQTT_PUBACK:
        *ret_note = (struct note){ .heard = HEARD_ACK, .count = 1 };
        break;
    case MQTT_PUBLISH:
        at = payload_find(cut.body);
        if (at == NULL)
            return dialect_fault(bytes, "a PUBLISH that isn't ours", ret_note);
        *ret_note = (struct note){ HEARD_PAYLOAD, span_of(at, (size_t)(cut.body.at + cut.body.len - at)), 1 };
        break;
    default:
        return dialect_fault(bytes, "an unexpected MQTT packet", ret_note);
    }
    return cut.wire_bytes;
}

static size_t mqtt_hear_subscriber(struct client *client, struct span bytes, struct note *ret_note)
{
    (void)client;
    return mqtt_hear(bytes, MQTT_SUBACK, ret_note);
}

static size_t mqtt_hear_publisher(struct client *client, struct span bytes, struct note *ret_note)
{
    (void)client;
    return mqtt_hear(bytes, MQTT_CONNACK, ret_note);
}

static void mqtt_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    char scratch[256];
    for (size_t i = 0; i < count; i++) {
        struct span topic = mqtt_topic(client, messages[i].channel, scratch, sizeof scratch);
        mqtt_put_head(&client->out, 0x30, 2 + topic.len + PAYLOAD_BYTES);
        mqtt_put_text(&client->out, topic);
        buf_put(&client->out, span_of(messages[i].payload, PAYLOAD_BYTES));
    }
}

/* QoS 1 (3.3.2.2): a packet identifier from 1 to 65535, free again after its PUBACK. */
static void mqtt_publish_acked(struct client *client, const struct outgoing *messages, size_t count)
{
    char scratch[256];
    for (size_t i = 0; i < count; i++) {
        struct span topic = mqtt_topic(client, messages[i].channel, scratch, sizeof scratch);
        client->left       = client->left % 65535 + 1;
        mqtt_put_head(&client->out, 0x32, 2 + topic.len + 2 + PAYLOAD_BYTES);
        mqtt_put_text(&client->out, topic);
        mqtt_put_u16(&client->out, client->left);
        buf_put(&client->out, span_of(messages[i].payload, PAYLOAD_BYTES));
    }
}

const struct dialect mqtt_dialects[] = {
    { "mosquitto", "tcp", false, mqtt_greet_subscriber, mqtt_hear_subscriber, NULL },
    { "mosquitto", "single", false, mqtt_connect, mqtt_hear_publisher, mqtt_publish },
    { "mosquitto", "acked", false, mqtt_connect, mqtt_hear_publisher, mqtt_publish_acked },
    { 0 },
};
