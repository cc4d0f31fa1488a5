#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

bool load_pids_parse(const char *text, struct load_pids *out)
{
    out->count = 0;
    while (*text) {
        char *end;
        long pid = strtol(text, &end, 10);
        if (end == text || pid <= 0 || out->count == LOAD_PIDS || (*end && *end != ','))
            return false;
        out->at[out->count++] = (int)pid;
        text = *end ? end + 1 : end;
    }
    return out->count > 0;
}

/* The first number of a file, or 0. */
static double first_number(const char *path)
{
    FILE *file = fopen(path, "re");
    double value = 0;
    if (file && fscanf(file, "%lf", &value) != 1)
        value = 0;
    if (file)
        fclose(file);
    return value;
}

double load_cpu_seconds(const struct load_pids *pids)
{
    double sum = 0;
    for (size_t i = 0; i < pids->count; i++) {
        char path[320];
        snprintf(path, sizeof(path), "/proc/%d/task", pids->at[i]);
        DIR *tasks = opendir(path);
        for (struct dirent *e; tasks && (e = readdir(tasks));) {
            snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pids->at[i], e->d_name);
            if (e->d_name[0] != '.')
                sum += first_number(path) / 1e9;
        }
        if (tasks)
            closedir(tasks);
    }
    return sum;
}

double load_pss_kilobytes(const struct load_pids *pids)
{
    double sum = 0;
    for (size_t i = 0; i < pids->count; i++) {
        char path[64], line[256];
        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pids->at[i]);
        FILE *file = fopen(path, "re");
        double kilobytes = 0;
        while (file && fgets(line, sizeof(line), file))
            if (sscanf(line, "Pss: %lf", &kilobytes) == 1)
                break;
        if (file)
            fclose(file);
        sum += kilobytes;
    }
    return sum;
}
