"""The radiance field of a tri-plane: planes, decoder, cameras, volume rendering, occupancy and meshes."""
