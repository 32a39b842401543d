/* hide_secrets.h - passwords of URLs on the command line: every user of a machine can read it while a process runs. */
#ifndef MAIN_HIDE_SECRETS_H
#define MAIN_HIDE_SECRETS_H

/* A copy of argv, to be read from then on; secrets_free() wipes it. In argv itself, passwords become ***. */
char **hide_secrets(char **argv);
void   secrets_free(char **copy);

#endif
