/* target.h - what the compiler makes the core for, by its own macros: 1 or 0.
 *
 *     VG_SHORT      a Cortex-M without long multiplication: M0, M0+, M1, M23
 *     VG_THUMB1     the same, and its kernels are wanted
 *     VG_THUMB2     a Cortex-M with Thumb-2, and its kernels
 *     VG_DSP        with the DSP extension, too
 *
 * VG_PORTABLE asks for no kernel, and none but gcc and clang reads them.
 * Cortex-A and -R may know Thumb-2 and DSP and yet not divide: they have none.
 */
#ifndef VG_TARGET_H
#define VG_TARGET_H

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define VG_CORTEX_M 1
#else
#define VG_CORTEX_M 0
#endif

#if defined(VG_PORTABLE) || !defined(__GNUC__)
#define VG_KERNELS 0
#else
#define VG_KERNELS VG_CORTEX_M
#endif

#ifdef __thumb2__
#define VG_SHORT 0
#define VG_THUMB1 0
#define VG_THUMB2 VG_KERNELS
#else
#define VG_SHORT VG_CORTEX_M
#define VG_THUMB1 VG_KERNELS
#define VG_THUMB2 0
#endif

#ifdef __ARM_FEATURE_DSP
#define VG_DSP VG_THUMB2
#else
#define VG_DSP 0
#endif

/* A frame of its own, so that a step takes the stack of the way it goes; or
 * none. */
#ifdef __GNUC__
#define VG_APART __attribute__((noinline))
#define VG_WITHIN inline __attribute__((always_inline))
#else
#define VG_APART
#define VG_WITHIN inline
#endif

/* A function in assembly, and its arguments.  What options put in front of
 * every function would spoil their registers. */
#ifdef __GNUC__
#define VG_UNUSED(type, name) type name __attribute__((unused))
#if defined(__has_attribute) && !defined(__clang__)
#if __has_attribute(no_stack_protector)
#define VG_NO_CANARY no_stack_protector,
#endif
#endif
#ifndef VG_NO_CANARY
#define VG_NO_CANARY
#endif
#define VG_NAKED                                                               \
    __attribute__((naked, noinline, VG_NO_CANARY no_instrument_function))
#endif

#endif
