"""What can go wrong in the world; a bad argument is a ValueError."""


class VgradError(Exception):
    """One sentence for a person: what is wrong, where, what to do."""


class BlobError(VgradError):
    """A blob that is damaged, cut short, or of a kind this version lacks."""


class DeviceError(VgradError):
    """A board, an emulator or a tool chain that is missing or does not answer."""


class RoomError(DeviceError):
    """A board whose RAM does not hold what it is asked to do."""
