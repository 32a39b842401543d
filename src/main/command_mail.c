#include "main/command_mail.h"

#include <stddef.h>

#include "main/snapshot.h"

_Static_assert(offsetof(struct command, next) == offsetof(struct mail, next), "commands travel as mail");

struct mail *mail_of(struct command *command)
{
    return (struct mail *)command;
}

struct command *command_of(struct mail *mail)
{
    return (struct command *)mail;
}

void command_mail_put(struct mailbox *mailbox, struct command *command)
{
    struct bundle one = { NULL, NULL };

    bundle_add(&one, mail_of(command));
    mailbox_put(mailbox, &one);
}

void command_mail_free(struct mail *mail)
{
    while (mail != NULL) {
        struct mail    *next    = mail->next;
        struct command *command = command_of(mail);
        if (command->kind == COMMAND_SNAPSHOT)
            snapshot_unref(snapshot_command_open(command));
        else
            command_free(command);
        mail = next;
    }
}
