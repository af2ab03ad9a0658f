"""From COCO images to change pairs in Zarr shards. Free of torch but for the LaMa filler, imported only when used."""
