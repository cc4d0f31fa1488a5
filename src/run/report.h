/* report: what a reload has found and done, as lines of the log and as JSON (ctl/ctl.h, Reload). */
#ifndef SHRIKE_RUN_REPORT_H
#define SHRIKE_RUN_REPORT_H

#include "run/monitor.h"

void report_log_faults(const struct conf_faults *faults);
void report_log_changes(const struct conf_changes *changes);
/* A list of sentences. */
json_t *report_faults(const struct conf_faults *faults);
/* The report's beginning: what is another in the file. */
json_t *report_changes(const struct conf *conf, const struct conf_changes *changes,
                       const struct conf_faults *warnings);
void report_ended(json_t *report, const struct ipc_event *event);
void report_outcome(json_t *report, const struct reload *reload, time_us took);

#endif
