# SPDX-License-Identifier: GPL-2.0-or-later
"""The operator's side: configuration, logs, service, start and stop."""
