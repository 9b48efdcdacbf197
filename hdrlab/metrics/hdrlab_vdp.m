function hdrlab_vdp(metric, toolbox, folder)
% Score the pair in a folder by the HDR-VDP that a toolbox holds.
%   metric   hdrvdp2 or hdrvdp3
%   toolbox  folder of the toolbox
%   folder   holds pair.mat: test, reference, encoding, ppd; quality.txt is written beside it
octave = exist('OCTAVE_VERSION', 'builtin') ~= 0;
if octave
  try
    pkg('load', 'image');
  catch
    % not installed: the toolbox says so if it needs it
  end
end
addpath(toolbox);
pair = load(fullfile(folder, 'pair.mat'));
if strcmp(metric, 'hdrvdp2')
  found = hdrvdp(pair.test, pair.reference, pair.encoding, pair.ppd, {});
  quality = found.Q;
else
  found = hdrvdp3('quality', pair.test, pair.reference, pair.encoding, pair.ppd, {});
  quality = found.Q_JOD;
end
if octave
  program = ['Octave ' version()];
else
  program = ['MATLAB ' version()];
end
file = fopen(fullfile(folder, 'quality.txt'), 'w');
fprintf(file, '%.10g\n%s\n', quality, program);
fclose(file);
end
