#include "main/command_mail.h"

void command_mail_put(struct mailbox *mailbox, struct command *command)
{
    struct bundle one = { NULL, NULL };

    bundle_add(&one, &command->mail);
    mailbox_put(mailbox, &one);
}

void command_mail_leave(struct mailbox *mailbox, struct command *command)
{
    struct bundle one = { NULL, NULL };

    bundle_add(&one, &command->mail);
    mailbox_leave(mailbox, &one);
}

void command_mail_free(struct mail *mail)
{
    while (mail != NULL) {
        struct mail *next = mail->next;
        command_free(command_of(mail));
        mail = next;
    }
}
