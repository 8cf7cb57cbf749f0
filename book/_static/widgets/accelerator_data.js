// Written by tools/widget_data.py.
((globalThis.fewbits ??= {}).data ??= {}).accelerator_data = {"arrays":[{"shift_adders":128,"cycles":109088,"counts":{"LUT":18448,"FF":12610,"BRAM":73}},{"shift_adders":256,"cycles":54720,"counts":{"LUT":30231,"FF":19338,"BRAM":73}},{"shift_adders":512,"cycles":27536,"counts":{"LUT":56050,"FF":32794,"BRAM":73}}],"chip":{"LUT":274080,"FF":548160,"BRAM":912}};
