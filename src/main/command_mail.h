/* command_mail.h - commands in the mailboxes of loops: reactor carries mail and does not know commands, node writes
 * commands and does not know mailboxes. */
#ifndef MAIN_COMMAND_MAIL_H
#define MAIN_COMMAND_MAIL_H

#include "node/command.h"
#include "reactor/wake.h"

/* Puts one command into a mailbox and wakes its owner. Takes the command. Any thread. */
void command_mail_put(struct mailbox *mailbox, struct command *command);

/* The same, but the owner is not woken for it (mailbox_leave()). */
void command_mail_leave(struct mailbox *mailbox, struct command *command);

/* Frees a chain of mail that nobody will read any more, with all that the commands own. NULL is fine. */
void command_mail_free(struct mail *mail);

#endif
