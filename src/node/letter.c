#include "node/letter.h"

#include <stdlib.h>

#include "base/must.h"

struct publish_letter *publish_letter_new(struct message **take_message, struct span key, struct span publisher)
{
    struct publish_letter *letter = calloc(1, sizeof *letter + key.len + publisher.len);

    must(letter != NULL);
    letter->letter.kind      = LETTER_PUBLISH;
    letter->append.message   = *take_message;
    letter->append.key       = span_of(letter->words, key.len);
    letter->append.publisher = span_of(letter->words + key.len, publisher.len);
    if (key.len > 0)
        memcpy(letter->words, key.at, key.len);
    if (publisher.len > 0)
        memcpy(letter->words + key.len, publisher.at, publisher.len);
    *take_message = NULL;
    return letter;
}

struct read_letter *read_letter_new(struct channel_name *channel)
{
    struct read_letter *letter = calloc(1, sizeof *letter);

    must(letter != NULL);
    letter->letter.kind  = LETTER_READ;
    letter->read.channel = channel_name_ref(channel);
    return letter;
}

struct count_letter *count_letter_new(struct channel_name *channel)
{
    struct count_letter *letter = calloc(1, sizeof *letter);

    must(letter != NULL);
    letter->letter.kind = LETTER_COUNT;
    letter->channel     = channel_name_ref(channel);
    return letter;
}

bool letter_tells_of_log(const struct letter *letter)
{
    return letter->kind == LETTER_DELIVER || letter->kind == LETTER_FOLLOW || letter->kind == LETTER_READ;
}

void letter_free(struct letter *letter)
{
    if (letter == NULL)
        return;
    switch (letter->kind) {
    case LETTER_PUBLISH:
        message_unref(container_of(letter, struct publish_letter, letter)->append.message);
        break;
    case LETTER_READ: {
        struct read_letter *read = container_of(letter, struct read_letter, letter);
        store_read_fini(&read->read);
        channel_name_unref(read->read.channel);
        break;
    }
    case LETTER_FOLLOW:
    case LETTER_UNFOLLOW:
        channel_name_unref(container_of(letter, struct follow_letter, letter)->channel);
        break;
    case LETTER_DELIVER: {
        struct deliver_letter *deliver = container_of(letter, struct deliver_letter, letter);
        for (uint32_t i = 0; i < deliver->count; i++)
            message_unref(deliver->messages[i]);
        break;
    }
    case LETTER_COMMITTED:
    case LETTER_HEAD:
        must(!"these live inside the writer's own structures");
        break;
    case LETTER_COUNT:
        channel_name_unref(container_of(letter, struct count_letter, letter)->channel);
        break;
    case LETTER_SNAPSHOT:
        must(!"main opens these itself");
        break;
    case LETTER_STATS:
        break;
    }
    free(letter);
}
