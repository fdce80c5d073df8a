"""Compiling deep networks that a test runs once, four times as fast as by default."""

import functools

import jax

# No optimisation of the machine code, and the older and simpler way of writing a fusion.
_OPTIONS = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


@functools.cache
def options() -> dict[str, int | bool]:
    """XLA's compiler options, or none where this version of XLA doesn't know them."""
    try:
        jax.jit(lambda x: x + 1, compiler_options=_OPTIONS)(1.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return _OPTIONS


def jit(function, **settings):
    """`jax.jit` for a function that is called once or twice; not inside another `jax.jit`."""
    return jax.jit(function, compiler_options=options(), **settings)
