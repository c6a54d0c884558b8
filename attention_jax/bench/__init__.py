"""Kernels beside their peers: time, compiled memory and compile time, every figure a ratio measured in one sitting."""
