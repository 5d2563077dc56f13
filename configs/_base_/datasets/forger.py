# How SyntheticTamperingDataset makes forgeries; docs/synthesis.md has the choices.
forger = dict(
    size=256,
    authentic_share=0.25,
    # Regions as large as people edit: half of them above 7 % of the image.
    operations=[
        dict(type='Splice', weight=0.5, areas=(0.01, 0.5), scales=(0.4, 2.0)),
        dict(type='CopyMove', weight=0.26, areas=(0.01, 0.4)),
        dict(type='Removal', weight=0.14, areas=(0.01, 0.3)),
        dict(type='LocalRetouch', weight=0.05, areas=(0.02, 0.4)),
        dict(type='PastedText', weight=0.02),
        dict(type='PastedGraphics', weight=0.03, areas=(0.01, 0.2))
    ],
    camera_history=dict(qualities=(60, 100)),
    final_history=dict(
        resize_share=0.25,
        scales=(0.6, 1.2),
        blur_share=0.05,
        noise_share=0.05,
        jpeg_shares=(0.5, 0.1),
        qualities=(65, 100)))
