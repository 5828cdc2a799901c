"""What each of ZeRO's stages costs, measured: the same training, held in different ways, one after the other."""
