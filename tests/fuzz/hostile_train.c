/* hostile_train.c - a line for each training on the standard input: what it
 * came to.  One comes as the blob's length, the number of steps and a seed
 * (uint32), vg_learn, and the blob; method 255 goes on from a checkpoint.
 */
#include "trained.h"

int main(void)
{
    uint32_t head[3];
    vg_learn learn;

    while (fread(head, sizeof head, 1, stdin) == 1) {
        uint8_t *blob = exactly(head[0], 0);
        MUST(fread(&learn, sizeof learn, 1, stdin) == 1);
        MUST(fread(blob, 1, head[0], stdin) == head[0]);
        printf("%d\n", train(blob, head[0], learn.method == 255 ? NULL : &learn,
                             head[1], head[2]));
        free(blob);
    }
    return 0;
}
