/* SPDX-License-Identifier: MIT-0
 *
 * progress.h - how far long work is: a line on standard error, on a terminal only.
 *
 * The line appears when the work has taken a second. From then on it is written again once a second, no longer than
 * the terminal is wide, with the share that is done and the time that is left at the same speed. Not for several
 * threads at once.
 */
#ifndef ATTN_PROGRESS_H
#define ATTN_PROGRESS_H

/* 1: show it wherever standard error goes; 0: do not. Until then: on a terminal. */
void progress_choose(int shown);

/* Work begins. Returns whether its progress can be seen; otherwise the other two do nothing. */
int progress_begin(void);

/* `what`, then `name`, which is left out if there is no room. Where `total` is 0, nobody knows how much there is. */
void progress_at(const char *what, const char *name, double done, double total);

/* To be called when the work has ended, and before anything else is printed. */
void progress_erase(void);

#endif
