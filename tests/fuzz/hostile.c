/* hostile.c - a line for each blob on the standard input: what vg_model_open
 * returned.  A blob comes as its length (uint32) and its bytes.
 */
#include "exercise.h"

int main(void)
{
    uint32_t size;

    while (fread(&size, sizeof size, 1, stdin) == 1) {
        uint8_t *blob = exactly(size, 0);
        MUST(fread(blob, 1, size, stdin) == size);
        printf("%d\n", exercise(blob, size, size));
        free(blob);
    }
    return 0;
}
