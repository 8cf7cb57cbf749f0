// In place of the theme's file of this name, half a megabyte of drawings of icons. The theme has them in a font as well, and
// its style sheet shows them from there where this script does not.
