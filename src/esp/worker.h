/* The worker's side of the data plane; see esp.h. */
#ifndef SHRIKE_ESP_WORKER_H
#define SHRIKE_ESP_WORKER_H
#endif
