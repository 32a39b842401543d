#include "store/info_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory that another user made under our name, or that others can enter, is not ours. */
static bool is_own_directory(const char *path)
{
    struct stat it;

    return lstat(path, &it) == 0 && S_ISDIR(it.st_mode) && it.st_uid == geteuid() && (it.st_mode & 077) == 0;
}

bool info_log_open(const char *path, char ret_path[INFO_LOG_PATH_BYTES])
{
    struct stat data;
    char        side[INFO_LOG_PATH_BYTES];

    if (stat(path, &data) != 0)
        return false;
    snprintf(side, sizeof side, "/dev/shm/longwired-%u-%llx-%llx", (unsigned)geteuid(), (unsigned long long)data.st_dev,
             (unsigned long long)data.st_ino);
    if ((mkdir(side, 0700) != 0 && errno != EEXIST) || !is_own_directory(side))
        return false;
    memcpy(ret_path, side, sizeof side);
    return true;
}

void info_log_remove(const char *log_path)
{
    DIR *directory = log_path[0] == '\0' ? NULL : opendir(log_path);

    if (directory == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_type == DT_REG)
            unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    rmdir(log_path);
}
