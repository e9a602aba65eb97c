"""A running dispatch as a handle: state, stream, interventions, interrupts."""
